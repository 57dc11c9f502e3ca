"""Trainer's flags on argparse: the four calls that Lightning 2.0 took away, for the Lightning that is installed.

    from trainer_args import Trainer

    parser = Trainer.add_argparse_args(ArgumentParser())
    trainer = Trainer.from_argparse_args(parser.parse_args())

Names, types, defaults and help are read from the source of Lightning, not from a list kept here and without
importing it: a flag that a new release brings is on the command line at once, and ``--help`` does not wait for torch.
"""

import ast
import importlib
import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, _ArgumentGroup
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cache, partial
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path
from typing import Any, NamedTuple

PLAIN_TYPES = {"bool": bool, "int": int, "float": float, "str": str, "Path": str, "timedelta": timedelta}
TYPE_NAMES = {bool: "yes/no", int: "int", float: "float", str: "text", list: "int,int,...", None: "none"}
YES, NO = ("y", "yes", "t", "true", "on"), ("n", "no", "f", "false", "off")
DURATION = re.compile(r"\d+:\d\d:\d\d:\d\d")  # days:hours:minutes:seconds, the text form of a timedelta


class Parameter(NamedTuple):
    """One parameter of ``Trainer.__init__``; ``kinds`` holds the plain types and literal values it takes."""

    name: str
    kinds: tuple[Any, ...]
    default: Any
    help: str


def add_argparse_args(parent_parser: ArgumentParser, *, use_argument_group: bool = True) -> ArgumentParser:
    """Add a flag for every Trainer parameter that can be written as text.

    A flag's default is the environment variable ``PL_TRAINER_<NAME>``, else what ``parent_parser.set_defaults`` has
    for it, else Trainer's own.

    Args:
        parent_parser: where the flags go.
        use_argument_group: add to the parser, in a group of its own; if false, leave it and return a child of it.

    Returns:
        ``parent_parser``, or its child.

    Raises:
        RuntimeError: ``parent_parser`` is an argument group.
    """
    if isinstance(parent_parser, _ArgumentGroup):
        raise RuntimeError("parent_parser must be an ArgumentParser, and is one of its groups")
    try:
        environment = vars(match_env_arguments())
    except ValueError as error:
        parent_parser.error(str(error))
    parser = parent_parser if use_argument_group else ArgumentParser(parents=[parent_parser], add_help=False)
    group = parser.add_argument_group("Trainer")
    for name, kinds, default, text in _flags():
        preset = parent_parser.get_default(name)
        # A switch may stand alone: --fast_dev_run is --fast_dev_run yes.
        switch: dict[str, Any] = {"nargs": "?", "const": True} if bool in kinds else {}
        group.add_argument(
            f"--{name}",
            type=partial(_convert, kinds),
            default=environment.get(name, default if preset is None else preset),
            help=text,
            metavar=_describe(kinds),
            **switch,
        )
    group.add_argument(
        "--gpus",
        type=partial(_convert, (int, list, None)),
        help="name that Lightning 1.x had: --gpus 2 is --accelerator gpu --devices 2",
        metavar=_describe((int, list)),
    )
    return parser


def from_argparse_args(args: Namespace | ArgumentParser, **kwargs: Any) -> Any:
    """Return Lightning's Trainer, built from its flags in ``args``; ``kwargs`` win, other names in ``args`` are left.

    Raises:
        TypeError: ``kwargs`` holds a name that Trainer does not take.
        Exception: what Lightning raises for values that do not fit together or that this machine cannot serve.
    """
    flags = vars(parse_argparser(args))
    values = {parameter.name: flags[parameter.name] for parameter in _parameters() if parameter.name in flags}
    today = _from_gpus(flags.get("gpus"))
    trainer = Trainer(**{**values, **today, **kwargs})
    if today and trainer.is_global_zero:
        new = " ".join(f"--{name} {value}" for name, value in today.items())
        print(f"--gpus {flags['gpus']} is now {new}", file=sys.stderr)
    return trainer


def parse_argparser(arg_parser: ArgumentParser | Namespace) -> Namespace:
    """Return the flags as a namespace; a parser parses the command line first."""
    return arg_parser.parse_args() if isinstance(arg_parser, ArgumentParser) else arg_parser


def match_env_arguments() -> Namespace:
    """Return the Trainer's flags that are set in the environment, as ``PL_TRAINER_MAX_EPOCHS=3``, typed like the flags.

    Raises:
        ValueError: a variable holds what its flag does not take.
    """
    values = {}
    for name, kinds, _, _ in _flags():
        variable = f"PL_TRAINER_{name.upper()}"
        if os.environ.get(variable):
            try:
                values[name] = _convert(kinds, os.environ[variable])
            except ArgumentTypeError as error:
                raise ValueError(f"environment variable {variable}: {error}") from None
    return Namespace(**values)


class Trainer:
    """Lightning's Trainer with its argparse calls: what ``Trainer(...)`` builds is Lightning's own."""

    add_argparse_args = staticmethod(add_argparse_args)
    from_argparse_args = staticmethod(from_argparse_args)
    parse_argparser = staticmethod(parse_argparser)
    match_env_arguments = staticmethod(match_env_arguments)

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Import Lightning, only now, and build its Trainer."""
        return importlib.import_module(_lightning()).Trainer(*args, **kwargs)


def _from_gpus(gpus: int | list[int] | None) -> dict[str, Any]:
    """Return what 1.x's ``--gpus`` means today."""
    if gpus is None:
        return {}
    return {"accelerator": "gpu", "devices": gpus} if gpus != 0 else {"accelerator": "cpu"}


def _convert(kinds: Sequence[Any], text: str) -> Any:
    """Return ``text`` as the first of ``kinds`` that it can be, from the narrowest to the widest."""
    word = text.strip().lower()
    if None in kinds and word in ("none", "null"):
        return None
    for literal in kinds:
        if not isinstance(literal, type) and word == str(literal):
            return literal
    if bool in kinds and word in (*YES, *NO):
        return word in YES
    if bool in kinds and int not in kinds and word in ("0", "1"):
        return word == "1"
    for number in _numbers(kinds, word):
        return number
    if list in kinds and re.fullmatch(r"\[\d+(,\s*\d+)*\]|\d+(,\d+)*,?", word):
        return [int(item) for item in re.findall(r"\d+", word)]
    if str in kinds and (timedelta not in kinds or DURATION.fullmatch(word)):
        return text
    raise ArgumentTypeError(f"{text!r} is not what it takes: {_describe(kinds)}")


def _numbers(kinds: Sequence[Any], word: str) -> Iterator[int | float]:
    """Yield ``word`` as an int, or else as a float, where ``kinds`` allow it; without floats, 1e5 is an int."""
    if int in kinds and re.fullmatch(r"[+-]?\d+", word):
        yield int(word)
    elif int in kinds or float in kinds:
        try:
            number = float(word)
        except ValueError:
            return
        if float in kinds:
            yield number
        elif number.is_integer():
            yield int(number)


def _describe(kinds: Sequence[Any]) -> str:
    """Return what a flag takes, for help and errors: ``int|float|none``."""
    names = dict(TYPE_NAMES)
    if timedelta in kinds:  # the one text such a flag takes
        names[str] = "DD:HH:MM:SS"
    return "|".join(dict.fromkeys(names.get(kind, str(kind)) for kind in kinds if kind is not timedelta))


def _lightning() -> str:
    """Return the name of the installed Lightning: ``pytorch_lightning`` or ``lightning.pytorch``."""
    # Only top-level names are looked up: to find lightning.pytorch, find_spec would import lightning.
    for top, name in (("pytorch_lightning", "pytorch_lightning"), ("lightning", "lightning.pytorch")):
        if find_spec(top):
            return name
    raise ModuleNotFoundError("Lightning is not installed: pip install pytorch-lightning")


def _flags() -> list[Parameter]:
    """Return the parameters that can be written as text: all but those that take objects only."""
    return [parameter for parameter in _parameters() if set(parameter.kinds) - {None}]


@cache
def _parameters() -> tuple[Parameter, ...]:
    """Return the parameters of the installed ``Trainer.__init__``, in its order."""
    module = f"{_lightning()}.trainer.trainer"
    trainer = next(node for node in _body(module) if isinstance(node, ast.ClassDef) and node.name == "Trainer")
    init = next(node for node in trainer.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    texts = _docstring_args(ast.get_docstring(init) or "")
    return tuple(
        Parameter(
            name=argument.arg,
            kinds=tuple(dict.fromkeys(_kinds(argument.annotation, module))),
            default=ast.literal_eval(default) if default else None,
            help=texts.get(argument.arg, "").replace("%", "%%"),
        )
        for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    )


def _kinds(annotation: ast.expr | None, module: str) -> Iterator[Any]:
    """Yield the plain types and literal values in an annotation of ``module``; nothing for types of objects."""
    match annotation:
        case ast.Constant(value=None):
            yield None
        case ast.Name(id=name) if name in PLAIN_TYPES:
            yield PLAIN_TYPES[name]
        case ast.Name(id=name):  # an alias such as _PRECISION_INPUT, or a class
            yield from _definition(name, module)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            yield from (*_kinds(inner, module), None)
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=members)):
            for member in members:
                yield from _kinds(member, module)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from (*_kinds(left, module), *_kinds(right, module))
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            literal = ast.literal_eval(values)
            yield from literal if isinstance(literal, tuple) else (literal,)
        case ast.Subscript(value=ast.Name(id="list" | "List"), slice=ast.Name(id="int")):
            yield list


def _definition(name: str, module: str) -> Iterator[Any]:
    """Yield what the alias ``name`` stands for in ``module``, through its imports from Lightning."""
    for node in _body(module):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                yield from _kinds(value, module)
            case ast.ImportFrom(module=str(source), names=names) if "lightning" in source:
                if any(alias.name == name for alias in names):
                    yield from _definition(name, source)


@cache
def _body(module: str) -> list[ast.stmt]:
    """Return the parsed statements of a module, found without importing it or its parents."""
    top, *parts = module.split(".")
    spec = find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return []
    path = Path(spec.submodule_search_locations[0], *parts)
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8")).body


def _docstring_args(docstring: str) -> dict[str, str]:
    """Return the text of each entry of a Google-style ``Args:`` section, on one line and without markup or default."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", cleandoc(docstring), re.MULTILINE | re.DOTALL)
    if section is None:
        return {}
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", section[1], re.MULTILINE | re.DOTALL)
    texts = {name: " ".join(text.split()) for name, text in entries}
    plain = {name: re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "") for name, text in texts.items()}
    return {name: re.sub(r"\s*Default: .*$", "", text) for name, text in plain.items()}
