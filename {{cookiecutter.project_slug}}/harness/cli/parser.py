"""The parser of the command line: strict, with config files, one-line errors and help in two lengths."""

import re
import sys
from argparse import (
    SUPPRESS,
    Action,
    ArgumentError,
    ArgumentParser,
    HelpFormatter,
    Namespace,
    _AppendAction,
    _CountAction,
)
from collections.abc import Callable, Container, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, NoReturn

from harness.cli.config_files import apply_configs, read_config, settable
from harness.cli.habits import meant_by
from harness.errors import UsageError
from harness.trainer_args import OffFlag


@dataclass
class Trained:
    """The flags that a checkpoint was made with.

    Args:
        path: the file.
        settings: by name, as a config file has them: texts.
        values: those of them that need no conversion, as they are.
    """

    path: str
    settings: Mapping[str, Any]
    values: Mapping[str, Any]


class Parser(ArgumentParser):
    """An ArgumentParser that takes no abbreviations, reads ``--config`` files and answers a mistake in one line.

    Args:
        rare: names of the flags that only ``--help_all`` shows.
        brief: texts for flags whose own are long; ``--help_all`` shows their own.
        whose: returns where an unknown flag is known, as in "a flag of model other, not mine", or nothing.
        trained: what a checkpoint sets: it wins over defaults, and everything else over it.
        **kwargs: what ArgumentParser takes.
    """

    def __init__(
        self,
        *,
        rare: Container[str] = (),
        brief: Mapping[str, str] | None = None,
        whose: Callable[[str], str] = lambda flag: "",
        trained: Trained | None = None,
        **kwargs: Any,
    ) -> None:
        """Build the parser."""
        super().__init__(formatter_class=Formatter, allow_abbrev=False, **kwargs)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # argparse's own takes -1e-3 for a flag
        self.rare, self.brief, self.whose, self.trained = rare, brief or {}, whose, trained
        self.unlike: dict[str, tuple[Any, Any]] = {}  # flags that differ from the checkpoint: theirs and its value
        self.chosen: set[str] = set()  # flags that the command line or a config file has set
        if self.add_help:
            self.add_argument("--help_all", action=HelpAll, nargs=0, default=SUPPRESS, help="show every flag and exit")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the flags, and the words of the command line that are unknown."""
        flags, unknown, _ = self._parse(args, namespace)
        return flags, unknown

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the flags; exit with status 2 if there is more, on the command line or in a config file."""
        flags, unknown, unknown_settings = self._parse(args, namespace)
        for word in unknown:
            self.error(self.explain(word.split("=")[0]) if word.startswith("-") else f"unexpected word {word!r}")
        for file, name in unknown_settings:
            self.error(f"{file}: {self.explain(f'--{name}')}")
        return flags

    def _parse(self, args: Any, namespace: Any) -> tuple[Namespace, list[str], list[tuple[str, str]]]:
        """Return the flags, the unknown words, and the file and name of each unknown setting.

        What config files and a checkpoint set is in the namespace before argparse begins, so flags win over them, and
        they over defaults.
        """
        flags = Namespace() if namespace is None else namespace
        given = self.given(args)
        try:
            configs = [(file, read_config(file)) for file in self._config_files(args)]
            unknown_settings = apply_configs(self, configs, flags)
            self.chosen = given | vars(flags).keys()
            trained = self._trained_values(self.chosen)
        except UsageError as error:
            self.error(str(error))
        vars(flags).update({name: value for name, value in trained.items() if name not in flags})
        for action in self._actions:
            if action.dest in given and isinstance(action, _AppendAction | _CountAction):
                vars(flags).pop(action.dest, None)  # argparse would add to it
        flags, unknown = super().parse_known_args(args, flags)
        pairs = {name: (getattr(flags, name), value) for name, value in trained.items()}
        self.unlike = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        for action in self._actions:  # in the order of the parser, wherever they come from
            if action.dest in flags:
                vars(flags)[action.dest] = vars(flags).pop(action.dest)
        return flags, unknown, unknown_settings

    def given(self, args: Sequence[str] | None) -> set[str]:
        """Return the names of the flags that stand on a command line."""
        known = self._option_string_actions
        words = [word.split("=")[0] for word in (sys.argv[1:] if args is None else args)]
        found = [known.get(word) or (known.get(word[:2]) if word[:2] != "--" else None) for word in words]
        return {action.dest for action in found if action is not None}

    def _trained_values(self, given: Container[str]) -> dict[str, Any]:
        """Return the values of flags in the checkpoint.

        Raises:
            UsageError: a flag does not take what it was, and is not given anew.
        """
        if self.trained is None:
            return {}
        values = Namespace()
        for name, setting in self.trained.settings.items():
            action = settable(self, name)  # None: a flag that is no more
            if action is None:
                continue
            try:
                if name in self.trained.values:
                    self._check_value(action, self.trained.values[name])
                    setattr(values, action.dest, self.trained.values[name])
                    action.required = False
                else:
                    apply_configs(self, [(f"--ckpt_path {self.trained.path}", {name: setting})], values)
            except (ArgumentError, UsageError) as error:
                if action.dest not in given:
                    raise UsageError(f"{error}: give --{name} again") from error
        return vars(values)

    def _config_files(self, args: Sequence[str] | None) -> list[str]:
        """Return the files that a command line names after ``--config``."""
        config = self._option_string_actions.get("--config")
        if config is None:
            return []
        reader = ArgumentParser(add_help=False, allow_abbrev=False)
        reader.error = self.error  # type: ignore[method-assign]
        reader._add_action(config)
        return reader.parse_known_args(args)[0].config or []

    def explain(self, flag: str) -> str:
        """Return what is wrong with an unknown flag: of another model, of another program, or misspelt."""
        if whose := self.whose(flag):
            return f"{flag} is {whose}"
        actions = self._option_string_actions.items()
        flags = [name for name, action in actions if action.help != SUPPRESS or isinstance(action, OffFlag)]
        longer = [name for name in flags if len(flag) > 2 and name.startswith(flag)]
        misspelt = get_close_matches(flag.replace("-", "_").replace("__", "--", 1), flags, cutoff=0.7)
        near = (meant_by(flag, flags) or longer or misspelt)[:3]
        return f"unknown flag {flag}" + (f", did you mean {' or '.join(near)}?" if near else "")

    def _check_value(self, action: Action, value: Any) -> None:
        """Raise ArgumentError if ``value`` is not one of the choices, and name the nearest."""
        if action.choices is not None and value not in action.choices:
            near = get_close_matches(str(value), list(map(str, action.choices)), n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ArgumentError(action, f"{value!r} is not one of {', '.join(map(str, action.choices))}{meant}")

    def format_help(self, *, everything: bool = False) -> str:
        """Return the help, in full or without what is rare."""
        formatter = self.formatter_class(prog=self.prog)
        assert isinstance(formatter, Formatter)
        formatter.everything, formatter.brief = everything, self.brief
        shown = [action for action in self._actions if everything or action.dest not in self.rare]
        formatter.add_usage(self.usage, shown, [])
        formatter.add_text(self.description)
        # What is longest, and shown in part, comes last.
        for group in sorted(
            self._action_groups, key=lambda group: any(action.dest in self.rare for action in group._group_actions)
        ):
            formatter.start_section(group.title)
            formatter.add_arguments(action for action in group._group_actions if action in shown)
            formatter.end_section()
        return formatter.format_help()

    def error(self, message: str) -> NoReturn:
        """Print the message on one line and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see {self.prog} --help)\n")


class HelpAll(Action):
    """Print the help of every flag and exit."""

    def __call__(self, parser: Any, namespace: Namespace, values: Any, option_string: Any = None) -> None:
        """Print and exit."""
        print(parser.format_help(everything=True), end="")
        parser.exit()


class Formatter(HelpFormatter):
    """Help with defaults, and choices written a|b; unless everything is asked for, of long texts the first sentence."""

    everything = False
    brief: Mapping[str, str] = MappingProxyType({})

    def __init__(self, prog: str) -> None:
        """Leave room for the names of flags."""
        super().__init__(prog, max_help_position=34)

    def add_argument(self, action: Action) -> None:
        """Add a flag, also one without a text: its default says something."""
        if action.help is None and action.default is not None:
            action = copy(action)
            action.help = "(default: %(default)s)"
        super().add_argument(action)

    def _metavar_formatter(self, action: Action, default_metavar: str) -> Callable[[int], tuple[str, ...]]:
        if action.metavar is None and action.choices is not None:
            choices = "|".join(map(str, action.choices))
            return lambda size: (choices,) * size
        if action.option_strings:  # what it takes says more than its name again
            name = getattr(action.type or str, "__name__", "<>")
            default_metavar = {"str": "text", "yes_no": "yes|no"}.get(name, "value" if "<" in name else name)
        return super()._metavar_formatter(action, default_metavar)

    def _expand_help(self, action: Action) -> str:
        text = action.help or ""
        if not self.everything:
            text = self.brief.get(action.dest) or re.split(r"(?<=[a-z`)])\. ", text)[0].rstrip(".")
        if action.default not in (None, SUPPRESS) and "%(default)" not in text:
            switch = {True: "yes", False: "no"} if isinstance(action.default, bool) else {}
            text += f" (default: {switch.get(action.default, action.default)})".replace("%", "%%")
        try:
            return text % {**vars(action), "prog": self._prog}
        except (TypeError, ValueError, KeyError):  # a plain per cent sign
            return text.replace("%%", "%")
