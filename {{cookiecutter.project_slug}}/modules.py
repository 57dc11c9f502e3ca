"""Models and data modules by file name: models/mnist.py is ``--model_name mnist``. Only what is named is read."""

import traceback
from argparse import ArgumentError, ArgumentParser, Namespace
from importlib import import_module
from pathlib import Path
from typing import Any

import signals
from args import UsageError
from declarations import read_declaration

ROOT = Path(__file__).parent


def names(folder: str) -> list[str]:
    """Return the names of the files and packages in ``folder`` ("models" or "data") that do not begin with "_".

    Raises:
        UsageError: there are none.
    """
    files = [path.stem for path in (ROOT / folder).glob("*.py")]
    packages = [path.parent.name for path in (ROOT / folder).glob("*/__init__.py")]
    found = sorted(name for name in files + packages if not name.startswith("_"))
    if not found:
        raise UsageError(f"{ROOT / folder} holds no file to choose from: put one there")
    return found


def load(folder: str, name: str) -> Any:
    """Return the one LightningModule ("models") or LightningDataModule ("data") that ``folder/name.py`` defines.

    Raises:
        UsageError: the file cannot be imported, or does not define exactly one.
    """
    module_name = f"{folder}.{name}"
    try:
        module = import_module(module_name)
    except signals.Stopped:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename) == ROOT / folder / f"{name}.py"]
        where = f" in line {lines[-1]}" if lines else ""
        raise UsageError(f"{folder}/{name}.py cannot be imported: {type(error).__name__}{where}: {error}") from error
    lightning = import_module("pytorch_lightning")
    base = {"models": lightning.LightningModule, "data": lightning.LightningDataModule}[folder]
    own = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, base)]
    # Not those that the file imports from elsewhere; those of its own package count.
    found = list(dict.fromkeys(value for value in own if f"{value.__module__}.".startswith(f"{module_name}.")))
    if len(found) != 1:
        classes = " and ".join(value.__name__ for value in found) or "none"
        raise UsageError(f"{folder}/{name}.py must define one {base.__name__}, and defines {classes}")
    return found[0]


def declaration(folder: str, name: str) -> Any:
    """Return a class with the flags of ``folder/name.py``: read without torch, or where that cannot be, imported.

    Raises:
        UsageError: the file cannot be imported, or does not define exactly one model or data module.
    """
    try:
        declared = read_declaration(ROOT, f"{folder}.{name}")
        add_args(declared, ArgumentParser(add_help=False))
    except signals.Stopped:
        raise
    except (Exception, SystemExit):
        return load(folder, name)
    return declared


def brings_data(model_class: Any) -> bool:
    """Return whether a model, or its declaration, has loaders of its own, and so takes no data module."""
    own = [base for base in model_class.__mro__ if not base.__module__.startswith("pytorch_lightning.")]
    return any("train_dataloader" in vars(base) for base in own)


def whose(flag: str, model_name: str, data_name: str) -> str:
    """Return which other models or data a flag belongs to, as "a flag of model other, not mine"; or nothing."""
    for folder, kind, chosen in (("models", "model", model_name), ("data", "data", data_name)):
        others = [name for name in names(folder) if name != chosen and flag in declared_flags(folder, name)]
        if others:
            return f"a flag of {kind} {' and '.join(others)}, not {chosen}"
    return ""


def declared_flags(folder: str, name: str) -> list[str]:
    """Return the flags of ``folder/name.py``, as far as they can be told without importing it."""
    try:
        own = add_args(read_declaration(ROOT, f"{folder}.{name}"), ArgumentParser(add_help=False))
    except signals.Stopped:
        raise
    except (Exception, SystemExit):  # it will be said when this one is asked for
        return []
    return [flag for action in own._actions for flag in action.option_strings]


def add_args(module_class: Any, parent_parser: ArgumentParser) -> ArgumentParser:
    """Return ``parent_parser`` with the flags that a model or data module class declares.

    Raises:
        UsageError: it declares a flag that the parser already has.
    """
    for hook in ("add_model_specific_args", "add_data_specific_args"):
        if hasattr(module_class, hook):
            try:
                return getattr(module_class, hook)(parent_parser)
            except ArgumentError as error:
                file = f"{module_class.__module__.replace('.', '/')}.py"
                raise UsageError(f"{file}: {error.message}: the flag exists already, choose another name") from error
    return parent_parser


def own_args(module_class: Any, args: Namespace) -> Namespace:
    """Return the part of ``args`` that a model or data module class declared: its hyperparameters."""
    own = add_args(module_class, ArgumentParser(add_help=False))
    return Namespace(**{action.dest: getattr(args, action.dest) for action in own._actions if action.dest in args})
