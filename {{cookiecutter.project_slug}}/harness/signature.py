"""Flags from the typed signature of a class without a hook: ``def __init__(self, width: int = 64)`` is ``--width``.

Parameters of plain types are flags: bool, int, float, str, Path, enums, ``Literal``, unions of these, and lists, tuples
and sets of them. Those of a dataclass are its fields, each under its own name. Without an annotation, the type is that
of the default. Parameters of other types keep their defaults. Imports no torch.
"""

import inspect
import types
from argparse import SUPPRESS, Action, ArgumentError, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from harness.trainer_args import OffFlag, convert, describe, docstring_args, listed

PLAIN = (bool, int, float, str, Path)
COLLECTIONS = {list: list, tuple: tuple, set: set, Sequence: list}
NAMESPACE = ("hparams", "args")  # a first parameter of these names gets all flags at once, as on the old Lightning page
# Flags of the program that are not about training: a parameter of such a name would say something else.
UNSHARED = {"command", "config", "ckpt_path", "predictions", "model_name", "data_name", "default_root_dir", "logger"}
UNSHARED |= {"run_name", "init_from", "init_from_strict", "tags", "notes", "to", "output", "debug"}
EMPTY = inspect.Parameter.empty


class Argument(NamedTuple):
    """A parameter of ``__init__``, or a field of a dataclass that is one."""

    name: str
    annotation: Any
    default: Any
    help: str


class SignatureFlag(Action):
    """Store a value of one of several kinds, or a collection of them.

    Args:
        option_strings: as for Action.
        dest: as for Action.
        kinds: the types and literal values that the flag accepts.
        build: makes the list, tuple or set of several values; None for a single value.
        **kwargs: as for Action.
    """

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        kinds: Sequence[Any],
        build: Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.build, self.kinds, self.words = build, kinds, listed(kinds)
        kwargs |= {"type": partial(convert, kinds), "metavar": describe(kinds)}
        super().__init__(option_strings, dest, **kwargs)

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: Any = None) -> None:
        """Store the value."""
        setattr(namespace, self.dest, values if self.build is None else self.build(values))


def add_signature_args(cls: Any, parser: ArgumentParser) -> ArgumentParser:
    """Add a flag for each plain parameter of a class in a group, and return the parser.

    A parameter that has the name of a flag which is there already, such as ``max_epochs``, shares it.

    Raises:
        ArgumentError: If it cannot share that flag.
    """
    if takes_namespace(cls):
        return parser
    group = parser.add_argument_group(cls.__name__)
    for argument in (each for parameter in parameters(cls) for each in parts(parameter)):
        name, annotation, default, text = argument
        kinds, how = how_to_parse(annotation, default)
        if not set(kinds) - {None}:
            continue
        if float in kinds and int not in kinds and type(default) is int:
            default = float(default)
        taken = parser._option_string_actions.get(f"--{name}")
        if taken is not None:
            share(taken, name, default, parser)
            continue
        if default is EMPTY:
            how |= {"required": True}
            default, text = None, f"{text} (required)".strip()
        group.add_argument(f"--{name}", action=SignatureFlag, kinds=kinds, default=default, help=text or None, **how)
        if bool in kinds:
            group.add_argument(f"--no_{name}", action=OffFlag, nargs=0, default=SUPPRESS, help=SUPPRESS)
    return parser


def share(action: Any, name: str, default: Any, parser: ArgumentParser) -> None:
    """Let a parameter take the value of a flag that is there already, and set the default of the flag.

    Raises:
        ArgumentError: If the flag is not about training, or cannot have this default.
    """
    if name in UNSHARED or not accepts(action, default):
        raise ArgumentError(action, f"conflicting option string: --{name}")
    action.shared = True  # it is a hyperparameter, too
    if default is not EMPTY and default is not None:
        parser.set_defaults(**{name: default})


def accepts(action: Action, default: Any) -> bool:
    """Return whether a flag can have a default; lists are not looked into."""
    if default is EMPTY or type(default) not in PLAIN or not callable(action.type):
        return True
    try:
        return bool(action.type(str(default)) == default)
    except (ArgumentTypeError, ValueError):
        return False


def takes_namespace(cls: Any) -> bool:
    """Return whether the first parameter of a class gets all flags at once, as a Namespace."""
    first = next(iter(parameters(cls)), None)
    if first is None or is_dataclass(first.annotation):
        return False
    return first.name in NAMESPACE or "Namespace" in str(first.annotation)


def parameters(cls: Any) -> list[Argument]:
    """Return the named parameters of ``__init__``, with annotations evaluated as far as that is possible."""
    init = inspect.unwrap(cls.__init__)
    texts = docstring_args(cls.__doc__ or "") | docstring_args(init.__doc__ or "")
    found = [
        each
        for each in list(inspect.signature(init).parameters.values())[1:]
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    scope = getattr(init, "__globals__", {})
    return [
        Argument(each.name, evaluated(each.annotation, scope), each.default, texts.get(each.name, "")) for each in found
    ]


def parts(parameter: Argument) -> list[Argument]:
    """Return the fields of a dataclass, or the parameter itself."""
    kind = parameter.annotation
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return [parameter]
    scope = vars(inspect.getmodule(kind) or types.ModuleType("none"))
    texts = docstring_args(kind.__doc__ or "")
    return [
        Argument(each.name, evaluated(each.type, scope), default_of(each, parameter.default), texts.get(each.name, ""))
        for each in fields(kind)
        if each.init
    ]


def default_of(field: Any, whole: Any) -> Any:
    """Return the default of a field: that in the default of the whole dataclass, or its own."""
    if whole is not EMPTY:
        return getattr(whole, field.name)
    if field.default_factory is not MISSING:
        return field.default_factory()
    return EMPTY if field.default is MISSING else field.default


def evaluated(annotation: Any, scope: dict[str, Any]) -> Any:
    """Return the type that an annotation written as text stands for, or the text."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, scope)
    except Exception:  # of any kind: it may be a name that is there for type checkers alone
        return annotation


def how_to_parse(annotation: Any, default: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the types and literal values of a flag, none for a type that is not plain, and arguments of argparse."""
    if annotation is EMPTY:
        annotation = type(default)
    members = [each for each in union_of(annotation) if each is not type(None)]
    origin = (get_origin(members[0]) or members[0]) if len(members) == 1 else None
    if origin not in COLLECTIONS:
        kinds = tuple(kinds_of(annotation))
        return kinds, {"nargs": "?", "const": True} if bool in kinds else {}
    inner = get_args(members[0]) or tuple(type(each) for each in default or () if default is not EMPTY)
    kinds = tuple(dict.fromkeys(kind for each in inner for kind in kinds_of(each)))
    has_length = origin is tuple and get_args(members[0]) and Ellipsis not in inner
    return kinds, {"nargs": len(inner) if has_length else "*", "build": COLLECTIONS[origin]}


def union_of(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union; of another type, itself."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def kinds_of(annotation: Any) -> Iterator[Any]:
    """Yield the plain types and literal values of an annotation, as ``convert`` takes them."""
    for member in union_of(annotation):
        if member is type(None):
            yield None
        elif get_origin(member) is Literal:
            yield from get_args(member)
        elif member in PLAIN or (isinstance(member, type) and issubclass(member, Enum)):
            yield member


def call_arguments(cls: Any, own: Namespace) -> dict[str, Any]:
    """Return the arguments of a class by name, from its flags: fields make the dataclass that has them."""
    values = vars(own).copy()
    for parameter in parameters(cls):
        found = parts(parameter)
        if found != [parameter]:
            values[parameter.name] = parameter.annotation(
                **{each.name: values.pop(each.name) if each.name in values else each.default for each in found}
            )
    return values
