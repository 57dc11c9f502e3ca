"""Models and data modules by file name: models/mnist.py is ``--model_name mnist``. Only the chosen file is read."""

import inspect
import re
from argparse import ArgumentError, ArgumentParser, Namespace
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from types import CodeType
from typing import Any

from harness.declared import HOOKS, leading, read_declaration
from harness.errors import ModelError, Stopped, UsageError
from harness.signature import EMPTY, add_signature_args, call_arguments, parameters, parts, takes_namespace

ROOT = Path(__file__).parents[1]
OTHER_NAME = "write pytorch_lightning in place of lightning and of lightning.pytorch"


@dataclass
class Declared:
    """What a model or data module declares: its flags and its data.

    Attributes:
        file: the file, for messages.
        declaration: the class, or what could be read of it without importing it.
    """

    file: str
    declaration: Any

    def add_args(self, parent_parser: ArgumentParser) -> ArgumentParser:
        """Return ``parent_parser``, or a child of it, with the flags of the hook, or without one of the signature.

        Raises:
            UsageError: If a flag is declared that the parser already has.
        """
        before = {id(action) for action in parent_parser._actions}
        owners = {
            flag: getattr(action, "owner", "the program")
            for action in parent_parser._actions
            for flag in action.option_strings
        }
        hooks = [getattr(self.declaration, hook) for hook in HOOKS if hasattr(self.declaration, hook)]
        add_own_args: Any = hooks[0] if hooks else partial(add_signature_args, self.declaration)
        try:
            parser = add_own_args(parent_parser)
        except ArgumentError as error:
            flag = re.sub(".*: ", "", error.message or "").split(",")[0]
            owner = owners.get(flag, "the command line")
            raise UsageError(f"{self.file} declares {flag}, which {owner} has already: choose another name") from error
        # A hook may return a new parser, which has the flags of its parents, but not their texts.
        parser.usage = parser.usage or parent_parser.usage
        parser.description = parser.description or parent_parser.description
        for action in parser._actions:
            if id(action) not in before or getattr(action, "shared", False):
                action.owner = self.file
        return parser

    add_model_specific_args = add_args
    add_data_specific_args = add_args

    @property
    def brings_data(self) -> bool:
        """Whether a model has loaders of its own, and so takes no data module; those of a base class count."""
        own = [base for base in self.declaration.__mro__ if not base.__module__.startswith("pytorch_lightning.core.")]
        return any("train_dataloader" in vars(base) for base in own)

    @property
    def data_name(self) -> str | None:
        """The data that a model names as its own, or None.

        Raises:
            UsageError: If there are no such data.
        """
        name: str | None = getattr(self.declaration, "data_name", None)
        if name is not None and name not in (found := DATA.names()):
            raise UsageError(f"{self.file}: data_name = {name!r}, and data/ holds {', '.join(found)}")
        return name

    def own_args(self, args: Namespace) -> Namespace:
        """Return the hyperparameters: the part of ``args`` that the model or data module declares."""
        own = self.add_args(ArgumentParser(add_help=False))
        return Namespace(**{action.dest: getattr(args, action.dest) for action in own._actions if action.dest in args})


class Folder:
    """The models, or the data modules, of this project.

    Args:
        name: the folder, below the root of the project.
        base: Lightning's class of which each file defines one.
        hook: the method that declares flags.
    """

    def __init__(self, name: str, base: str, hook: str) -> None:
        self.name, self.base, self.hook = name, base, hook

    def names(self) -> list[str]:
        """Return the names of the files and packages that do not begin with "_".

        Raises:
            UsageError: If there are none.
        """
        files = [path.stem for path in (ROOT / self.name).glob("*.py")]
        packages = [path.parent.name for path in (ROOT / self.name).glob("*/__init__.py")]
        found = sorted(name for name in files + packages if not name.startswith("_"))
        if not found:
            raise UsageError(f"{ROOT / self.name} holds no file to choose from: put one there")
        return found

    def first(self, *preferred: str) -> str:
        """Return the first of the preferred names that exists, else the first of all."""
        found = self.names()
        return next((name for name in preferred if name in found), found[0])

    def file(self, name: str) -> str:
        """Return the path of a model or data module: models/net.py, or models/net/__init__.py."""
        is_file = (ROOT / self.name / f"{name}.py").exists()
        return f"{self.name}/{name}.py" if is_file else f"{self.name}/{name}/__init__.py"

    def __getitem__(self, name: str) -> Declared:
        """Return the flags and data that a file declares: read without torch, or if that is not possible, imported.

        Raises:
            UsageError: If the file cannot be imported, or does not define exactly one model or data module.
        """
        file = self.file(name)
        try:
            declared = Declared(file, read_declaration(ROOT / file, f"{self.name}.{name}"))
            declared.add_args(ArgumentParser(add_help=False))
        except Stopped:
            raise
        except (Exception, SystemExit):
            return Declared(file, self.load(name))
        return declared

    def load(self, name: str) -> Any:
        """Return the LightningModule or LightningDataModule that a file defines.

        Raises:
            UsageError: If the file cannot be imported, or it is not clear which class is meant.
        """
        module_name, file = f"{self.name}.{name}", self.file(name)
        try:
            module = import_module(module_name)
        except (Stopped, UsageError):
            raise
        except (Exception, SystemExit) as error:
            lacks_lightning = getattr(error, "name", "") == "lightning"
            remedy = f": {OTHER_NAME}" if lacks_lightning else ""
            raise UsageError(f"{file} cannot be imported: {describe_error(error)}{remedy}") from error
        base = getattr(import_module("pytorch_lightning"), self.base)
        # Classes of a package's own files count, not those that it imports from elsewhere.
        own = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and f"{value.__module__}.".startswith(f"{module_name}.")
        ]
        found = leading(value for value in own if issubclass(value, base))
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(value.__name__ for value in found)
            raise UsageError(f"{file} defines {names}: let the name of all but one {self.base} begin with _")
        other = [each for value in own for each in value.__mro__ if each.__name__ == self.base]
        package = other[0].__module__.split(".")[0] if other else ""
        remedy = f", but one of {package}: {OTHER_NAME}" if other else ""
        raise UsageError(f"{file} defines no {self.base}{remedy}")

    def build(self, name: str, args: Namespace) -> Any:
        """Return the model or data module of a file, built from its part of ``args``.

        As on the old Lightning page, ``__init__(self, hparams)`` receives the flags as a Namespace; one with other
        parameters, such as ``__init__(self, width=64)``, receives them by name, also those that are a dataclass.

        Raises:
            UsageError: If the file cannot be used, or no flag gives a parameter.
            ModelError: If its ``__init__`` fails.
        """
        module_class, file = self.load(name), self.file(name)
        own = Declared(file, module_class).own_args(args)
        by_name = takes_keywords(module_class, own)
        if by_name and (lacking := parameters_without_flags(module_class, own)):
            raise UsageError(
                f"{file}: __init__ takes {' and '.join(lacking)}, and no flag gives it: declare --{lacking[0]} in "
                f"{self.hook}, or give it a default or a plain type; a first parameter called hparams gets all flags"
            )
        try:
            return module_class(**call_arguments(module_class, own)) if by_name else module_class(own)
        except (Stopped, UsageError):
            raise
        except Exception as error:
            remedy = ""
            if isinstance(error, AttributeError) and "'hparams'" in str(error):
                remedy = ": instead of self.hparams = hparams call self.save_hyperparameters(hparams)"
            raise ModelError(f"{file} does not take these flags: {describe_error(error)}{remedy}") from error

    def flags_of(self, name: str) -> list[str]:
        """Return the flags of a file, as far as they can be read without importing it."""
        file = self.file(name)
        try:
            declared = Declared(file, read_declaration(ROOT / file, f"{self.name}.{name}"))
            own = declared.add_args(ArgumentParser(add_help=False))
        except Stopped:
            raise
        except (Exception, SystemExit):  # shown when this file is chosen
            return []
        return [flag for action in own._actions for flag in action.option_strings]


MODELS = Folder("models", "LightningModule", "add_model_specific_args")
DATA = Folder("data", "LightningDataModule", "add_data_specific_args")


def owner_of_flag(flag: str, model_name: str | None, data_name: str | None) -> str:
    """Return the other models or data that declare a flag, as "a flag of model other, not mine"; or nothing."""
    for folder, kind, chosen in ((MODELS, "model", model_name), (DATA, "data", data_name)):
        if chosen is not None:
            others = [name for name in folder.names() if name != chosen and flag in folder.flags_of(name)]
            if others:
                return f"a flag of {kind} {' and '.join(others)}, not {chosen}"
    return ""


def takes_keywords(module_class: Any, own: Namespace) -> bool:
    """Return whether a class takes its flags by name, and not all of them at once in its first parameter."""
    first = next(iter(inspect.signature(module_class).parameters.values()), None)
    if first is None or first.kind is first.VAR_KEYWORD or first.name in own:
        return True
    if first.kind is first.VAR_POSITIONAL:  # a class without an __init__ of its own
        return not vars(own)
    return not takes_namespace(module_class)


def parameters_without_flags(module_class: Any, own: Namespace) -> list[str]:
    """Return the parameters of a class that have neither a default nor a flag of their name."""
    return [
        each.name
        for parameter in parameters(module_class)
        for each in parts(parameter)
        if each.default is EMPTY and each.name not in own
    ]


def describe_error(error: BaseException) -> str:
    """Return the message of an error, with its place in models/ or data/: "KeyError: 'x' (models/net.py, line 7)".

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
    """Return the functions in models/ and data/ that an error passed, the outermost first, each with its line."""
    folders = tuple(str(ROOT / folder.name) for folder in (MODELS, DATA))
    frames = [(frame.f_code, line) for frame, line in walk_tb(error.__traceback__)]
    return [(code, line) for code, line in frames if code.co_filename.startswith(folders)]
