"""Models and data modules by file name: models/mnist.py is ``--model_name mnist``. Only what is named is read."""

import inspect
import re
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from types import CodeType, MappingProxyType
from typing import Any

from harness.declared import is_defined_in, leading, read_declaration
from harness.errors import ModelError, Stopped, UsageError

ROOT = Path(__file__).parents[1]
NOBODY: Mapping[str, str] = MappingProxyType({})


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


def file_of(folder: str, name: str) -> str:
    """Return the file of a model or data module as people write it: models/net.py, or models/net/__init__.py."""
    return f"{folder}/{name}.py" if (ROOT / folder / f"{name}.py").exists() else f"{folder}/{name}/__init__.py"


def load(folder: str, name: str) -> Any:
    """Return the LightningModule ("models") or LightningDataModule ("data") that ``folder/name.py`` is for.

    Raises:
        UsageError: the file cannot be imported, or it is not clear which class is meant.
    """
    module_name, file = f"{folder}.{name}", file_of(folder, name)
    try:
        module = import_module(module_name)
    except (Stopped, UsageError):
        raise
    except (Exception, SystemExit) as error:
        remedy = " (this project has it as pytorch_lightning)" if getattr(error, "name", "") == "lightning" else ""
        raise UsageError(f"{file} cannot be imported: {said(error)}{remedy}") from error
    lightning = import_module("pytorch_lightning")
    base = {"models": lightning.LightningModule, "data": lightning.LightningDataModule}[folder]
    own = [value for value in vars(module).values() if isinstance(value, type) and is_defined_in(module_name, value)]
    found = leading(value for value in own if issubclass(value, base))
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(value.__name__ for value in found)
        raise UsageError(f"{file} defines {names}: let the name of all but one {base.__name__} begin with _")
    other = [each for value in own for each in value.__mro__ if each.__name__ == base.__name__]
    remedy = f", but one of {other[0].__module__.split('.')[0]}: import pytorch_lightning as pl" if other else ""
    raise UsageError(f"{file} defines no {base.__name__}{remedy}")


def said(error: BaseException) -> str:
    """Return what an error says, and where in models/ or data/ it came from: "KeyError: 'x' (models/net.py, line 7)".

    Of the lines of a file that called each other, the innermost comes first.
    """
    own = own_code(error)
    places = [
        f"line {line}" + ("" if code.co_name == "<module>" else f" in {code.co_name}") for code, line in reversed(own)
    ]
    where = f" ({Path(own[-1][0].co_filename).relative_to(ROOT).as_posix()}, {', '.join(places)})" if own else ""
    message = " ".join(str(error).split("\n\n")[0].split())  # the rest is advice on torch
    return f"{type(error).__name__}: {message}{where}"


def own_code(error: BaseException) -> list[tuple[CodeType, int]]:
    """Return the functions in models/ and data/ that an error came through, the outermost first, each with its line."""
    folders = tuple(str(ROOT / folder) for folder in ("models", "data"))
    frames = [(frame.f_code, line) for frame, line in walk_tb(error.__traceback__)]
    return [(code, line) for code, line in frames if code.co_filename.startswith(folders)]


def declaration(folder: str, name: str) -> Any:
    """Return a class with the flags of ``folder/name.py``: read without torch, or where that cannot be, imported.

    Raises:
        UsageError: the file cannot be imported, or does not define exactly one model or data module.
    """
    try:
        declared = read_declaration(ROOT, f"{folder}.{name}")
        add_args(declared, ArgumentParser(add_help=False))
    except Stopped:
        raise
    except (Exception, SystemExit):
        return load(folder, name)
    return declared


def brings_data(model_class: Any) -> bool:
    """Return whether a model, or its declaration, has loaders of its own, and so takes no data module.

    Those of a base class count, also of one in Lightning's demos.
    """
    own = [base for base in model_class.__mro__ if not base.__module__.startswith("pytorch_lightning.core.")]
    return any("train_dataloader" in vars(base) for base in own)


def made_for(model_class: Any) -> str | None:
    """Return the data that a model, or its declaration, names as its own: the default of ``--data_name``; or None.

    Raises:
        UsageError: there are no such data.
    """
    data_name = getattr(model_class, "data_name", None)
    if data_name is not None and data_name not in (found := names("data")):
        file = f"{model_class.__module__.replace('.', '/')}.py"
        raise UsageError(f"{file}: data_name = {data_name!r}, and data/ holds {', '.join(found)}")
    return data_name


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
    except Stopped:
        raise
    except (Exception, SystemExit):  # it will be said when this one is asked for
        return []
    return [flag for action in own._actions for flag in action.option_strings]


def add_args(module_class: Any, parent_parser: ArgumentParser, owners: Mapping[str, str] = NOBODY) -> ArgumentParser:
    """Return ``parent_parser`` with the flags that a model or data module class declares.

    Args:
        module_class: the class, or what ``declaration`` returns.
        parent_parser: the parser.
        owners: whose its flags are, for the message.

    Raises:
        UsageError: it declares a flag that the parser already has.
    """
    for hook in ("add_model_specific_args", "add_data_specific_args"):
        if hasattr(module_class, hook):
            try:
                return getattr(module_class, hook)(parent_parser)
            except ArgumentError as error:
                flag = re.sub(".*: ", "", error.message or "").split(",")[0]
                file = f"{module_class.__module__.replace('.', '/')}.py"
                raise UsageError(
                    f"{file} declares {flag}, which {owners.get(flag, 'the command line')} has already: "
                    "choose another name"
                ) from error
    return parent_parser


def own_args(module_class: Any, args: Namespace) -> Namespace:
    """Return the part of ``args`` that a model or data module class declared: its hyperparameters."""
    own = add_args(module_class, ArgumentParser(add_help=False))
    return Namespace(**{action.dest: getattr(args, action.dest) for action in own._actions if action.dest in args})


def build(folder: str, name: str, args: Namespace) -> Any:
    """Return the model or data module of ``folder/name.py``, made from its part of ``args``.

    As on the old Lightning page, ``__init__(self, hparams)`` gets the flags as a Namespace; one that takes them by
    name, as ``__init__(self, width=64)``, gets them so.

    Raises:
        UsageError: the file cannot be used, or its class does not take the flags.
    """
    module_class = load(folder, name)
    own = own_args(module_class, args)
    by_name = takes_keywords(module_class, own)
    if by_name and (lacking := parameters_without_flags(module_class, own)):
        hook = {"models": "add_model_specific_args", "data": "add_data_specific_args"}[folder]
        raise UsageError(
            f"{file_of(folder, name)}: __init__ takes {' and '.join(lacking)}, and no flag gives it: declare "
            f"--{lacking[0]} in {hook}, or give it a default; a first parameter called hparams gets all flags at once"
        )
    try:
        return module_class(**vars(own)) if by_name else module_class(own)
    except (Stopped, UsageError):
        raise
    except Exception as error:
        remedy = ""
        if isinstance(error, AttributeError) and "'hparams'" in str(error):
            remedy = ": instead of self.hparams = hparams call self.save_hyperparameters(hparams)"
        raise ModelError(f"{file_of(folder, name)} does not take these flags: {said(error)}{remedy}") from error


def takes_keywords(module_class: Any, own: Namespace) -> bool:
    """Return whether a class takes its flags by name, and not all of them at once in its first parameter."""
    first = next(iter(inspect.signature(module_class).parameters.values()), None)
    if first is None or first.kind is first.VAR_KEYWORD or first.name in own:
        return True
    if first.kind is first.VAR_POSITIONAL:  # as where a class has no __init__ of its own
        return not vars(own)
    return first.name not in ("hparams", "args") and "Namespace" not in str(first.annotation)


def parameters_without_flags(module_class: Any, own: Namespace) -> list[str]:
    """Return the parameters of a class that must be given, and that none of its flags has the name of."""
    return [
        parameter.name
        for parameter in inspect.signature(module_class).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and parameter.default is parameter.empty
        and parameter.name not in own
    ]
