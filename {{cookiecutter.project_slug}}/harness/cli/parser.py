"""The parser of the command line: strict, with help in two lengths; a mistake is a UsageError."""

import re
from argparse import SUPPRESS, Action, ArgumentError, ArgumentParser, HelpFormatter, Namespace
from collections.abc import Callable
from copy import copy
from difflib import get_close_matches
from enum import Enum
from typing import Any, NoReturn

from harness.cli.habits import meant_by
from harness.errors import UsageError
from harness.trainer_args import OffFlag


class Parser(ArgumentParser):
    """ArgumentParser without abbreviations that raises UsageError, with ``--help_all`` beside ``--help``.

    The short help leaves out flags with the attribute ``rare``, and shows the attribute ``brief`` of others as text.

    Attributes:
        origins: file that each flag, by its option strings, takes its value from; named in errors.
    """

    def __init__(self, *, add_help: bool = False, **kwargs: Any) -> None:
        super().__init__(formatter_class=Formatter, allow_abbrev=False, add_help=add_help, **kwargs)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # argparse's own takes -1e-3 for a flag
        self.origins: dict[str, str] = {}
        if add_help:
            self.add_argument("--help_all", action=HelpAll, nargs=0, default=SUPPRESS, help="show every flag and exit")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the flags.

        Raises:
            UsageError: If a word is unknown, or its value is not valid.
        """
        flags, unknown = self.parse_known_args(args, namespace)
        for word in unknown:
            is_flag = word.startswith("-")
            self.error(self.describe_unknown(word.split("=")[0]) if is_flag else f"unexpected word {word!r}")
        return flags

    def describe_unknown(self, flag: str) -> str:
        """Return the message for an unknown flag, with the flags that may be meant."""
        actions = self._option_string_actions.items()
        flags = [name for name, action in actions if action.help != SUPPRESS or isinstance(action, OffFlag)]
        longer = [name for name in flags if len(flag) > 2 and name.startswith(flag)]
        misspelt = get_close_matches(flag.replace("-", "_").replace("__", "--", 1), flags, cutoff=0.7)
        near = (meant_by(flag, flags) or longer or misspelt)[:3]
        return f"unknown flag {flag}" + (f", did you mean {' or '.join(near)}?" if near else "")

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; the message names the file that the flag takes its value from."""
        flag = re.match(r"argument ([^\s:/]+)", message)
        origin = self.origins.get(flag[1], "") if flag else ""
        raise UsageError(f"{origin}: {message}" if origin else message)

    def _check_value(self, action: Action, value: Any) -> None:
        """Raise ArgumentError if ``value`` is not one of the choices, and name the nearest."""
        if action.choices is not None and value not in action.choices:
            near = get_close_matches(str(value), list(map(str, action.choices)), n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ArgumentError(action, f"{value!r} is not one of {', '.join(map(str, action.choices))}{meant}")

    def format_help(self, *, everything: bool = False) -> str:
        """Return the help, in full or without rare flags."""
        formatter = self.formatter_class(prog=self.prog)
        assert isinstance(formatter, Formatter)
        formatter.everything = everything
        shown = [action for action in self._actions if everything or not is_rare(action)]
        formatter.add_usage(self.usage, shown, [])
        formatter.add_text(self.description)
        # The longest groups, which the short help shows in part, come last.
        for group in sorted(self._action_groups, key=lambda group: any(map(is_rare, group._group_actions))):
            formatter.start_section(group.title)
            formatter.add_arguments(action for action in group._group_actions if action in shown)
            formatter.end_section()
        return formatter.format_help()


def with_help(parser: ArgumentParser) -> Parser:
    """Return a Parser with the flags of a parser, which may be one that a model made, and with ``--help``."""
    return Parser(
        usage=parser.usage,
        description=parser.description,
        parents=[parser],
        conflict_handler="resolve",  # the parser of a model may have a -h of its own
        add_help=True,
    )


def is_rare(action: Action) -> bool:
    """Return whether the short help leaves a flag out."""
    return getattr(action, "rare", False)


def shown(value: Any) -> str:
    """Return a default as it is typed."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set):
        return " ".join(map(shown, value)) or "none"
    return value.name if isinstance(value, Enum) else str(value)


class HelpAll(Action):
    """Print the help of every flag and exit."""

    def __call__(self, parser: Any, namespace: Namespace, values: Any, option_string: Any = None) -> None:
        """Print and exit."""
        print(parser.format_help(everything=True), end="")
        parser.exit()


class Formatter(HelpFormatter):
    """Help with defaults and with choices as a|b; the short help shows the first sentence of long texts."""

    everything = False

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34)

    def add_argument(self, action: Action) -> None:
        """Add a flag; one without a text shows its default."""
        if action.help is None and action.default is not None:
            action = copy(action)
            action.help = f"(default: {shown(action.default)})".replace("%", "%%")
        super().add_argument(action)

    def _metavar_formatter(self, action: Action, default_metavar: str) -> Callable[[int], tuple[str, ...]]:
        if action.metavar is None and action.choices is not None:
            choices = "|".join(map(str, action.choices))
            return lambda size: (choices,) * size
        if action.option_strings:  # the type of the value, rather than the name of the flag again
            name = getattr(action.type or str, "__name__", "<>")
            default_metavar = {"str": "text", "yes_no": "yes|no"}.get(name, "value" if "<" in name else name)
        return super()._metavar_formatter(action, default_metavar)

    def _expand_help(self, action: Action) -> str:
        text = action.help or ""
        if not self.everything:
            text = getattr(action, "brief", None) or re.split(r"(?<=[a-z`)])\. ", text)[0].rstrip(".")
        if action.default not in (None, SUPPRESS) and "(default: " not in text and "%(default)" not in text:
            text += f" (default: {shown(action.default)})".replace("%", "%%")
        try:
            return text % {**vars(action), "prog": self._prog}
        except (TypeError, ValueError, KeyError):  # a plain per cent sign
            return text.replace("%%", "%")
