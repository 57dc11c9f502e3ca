"""The search space: flags that model and data search, and those of ``--search``, as distributions of Optuna."""

import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from harness.cli.parser import Parser
from harness.errors import UsageError
from harness.sweeps.optuna.definition import shown
from harness.words import find_action, flag_words

PROBES = 40  # trials that check the space before the first real one
# Fixed for a whole sweep: they decide which flags exist, how trials compare, and where runs are kept.
HELD = {"ckpt_path", "command", "config", "data_name", "default_root_dir", "model_name", "monitor", "monitor_mode"}
HELD |= {"run_name", "tags", "notes"}
HELD |= {"test_after_fit"}
PLAIN = int, float, str, bool, type(None)  # types that a study stores as they are


def suggest(trial: Any, name: str, values: BaseDistribution) -> Any:
    """Return the value of a trial from a distribution."""
    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(name, values.choices)
    assert isinstance(values, IntDistribution | FloatDistribution)
    method = trial.suggest_int if isinstance(values, IntDistribution) else trial.suggest_float
    return method(name, values.low, values.high, step=values.step, log=values.log)


def text_of(values: BaseDistribution) -> str:
    """Return a distribution in the syntax of ``--search``."""
    if isinstance(values, CategoricalDistribution):
        return ",".join(map(shown, values.choices))
    assert isinstance(values, IntDistribution | FloatDistribution)
    if values.single():
        return shown(values.low)
    has_step = values.step is not None and not (isinstance(values, IntDistribution) and values.step == 1)
    end = ":log" if values.log else f":{values.step}" if has_step else ""
    return f"{values.low}..{values.high}{end}"


def all_values(values: BaseDistribution) -> list[Any] | None:
    """Return the values of a distribution, or None if it is a range without steps."""
    if isinstance(values, CategoricalDistribution):
        return list(values.choices)
    assert isinstance(values, IntDistribution | FloatDistribution)
    if values.single():
        return [values.low]
    if values.step is None or values.log:
        return None
    return [values.low + number * values.step for number in range(int((values.high - values.low) / values.step + 1.5))]


def parse_search(word: str, parser: Parser) -> tuple[str, BaseDistribution]:
    """Return the name and the distribution of a word of ``--search``.

    Args:
        word: NAME=LOW..HIGH, which may end in :log or :STEP, or NAME=VALUE,VALUE.
        parser: has the flag, whose type converts the values.

    Raises:
        UsageError: If there is no such flag, it does not take the values, or they are no range.
    """
    name, equals, text = word.removeprefix("--").partition("=")
    low, dots, rest = text.partition("..")
    if not equals or not text:
        raise UsageError(f"--search {word}: write NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=VALUE,VALUE")
    if "..." in text:  # .1e-2 is a number, too
        raise UsageError(f"--search {word}: write two dots, as in {name}={text.replace('...', '..')}")

    def read(value: str) -> Any:
        return read_values(parser, {name: value}, f"--search {word}")[name]

    if not dots:
        choices = [value if isinstance(value := read(part), PLAIN) else part for part in text.split(",")]
        if len(set(map(repr, choices))) < len(choices):
            raise UsageError(f"--search {word}: a value comes twice")
        return name, CategoricalDistribution(choices)
    high, _, end = rest.partition(":")
    ends = [read(low), read(high)]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in ends):
        raise UsageError(f"--search {word}: --{name} takes no numbers; list its values: {name}=VALUE,VALUE")
    is_int = all(isinstance(value, int) for value in ends)
    try:
        step = None if end in ("", "log") else (int if is_int else float)(end)
    except ValueError:
        raise UsageError(f"--search {word}: after : comes log or the step, not {end!r}") from None
    kind: Any = IntDistribution if is_int else FloatDistribution
    steps = {} if step is None else {"step": step}
    try:
        return name, kind(*ends, log=end == "log", **steps)
    except ValueError:
        hint = ": log needs numbers above 0" if end == "log" else ""
        raise UsageError(f"--search {word} is no range{hint}") from None


def read_values(parser: Parser, values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return values as their flags convert them, by the names of the values.

    Args:
        parser: has the flags.
        values: plain values, or texts as on the command line.
        origin: source of the values, for errors.

    Raises:
        UsageError: If there is no such flag, or it does not take the value.
    """
    actions = {name: find_action(parser, name) for name in values}
    if unknown := [name for name, action in actions.items() if action is None]:
        raise UsageError(f"{origin}: {parser.describe_unknown(f'--{unknown[0]}')}")
    try:
        words = [word for name, value in values.items() for word in flag_words(parser, name, value)]
        flags, _ = parser.parse_known_args(words)
    except UsageError as error:
        raise UsageError(f"{origin}: {str(error).removeprefix('argument --')}") from error
    return {name: getattr(flags, action.dest) for name, action in actions.items()}


class Drawing:
    """A trial for the ``search_space`` of a model: flags that the command line fixes or searches replace its own.

    Args:
        trial: the trial of Optuna.
        searched: distributions of ``--search``.
        fixed: values of flags that are not searched.
    """

    def __init__(self, trial: Any, searched: Mapping[str, BaseDistribution], fixed: Mapping[str, Any]) -> None:
        self._trial, self._searched, self._fixed = trial, searched, fixed
        self.drawn: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        """Return a ``suggest_`` method, or any other attribute of the trial."""
        attribute = getattr(self._trial, name)
        if not name.startswith("suggest_"):
            return attribute

        def suggest_flag(flag: str, *args: Any, **kwargs: Any) -> Any:
            if flag in self._fixed:
                return self._fixed[flag]
            searched = self._searched.get(flag)
            value = attribute(flag, *args, **kwargs) if searched is None else suggest(self._trial, flag, searched)
            self.drawn[flag] = value
            return value

        return suggest_flag


class Ends(optuna.samplers.RandomSampler):
    """Sampler of the first trials of a check: the low end of each range in one, the high end in the next."""

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """Return one end."""
        if isinstance(param_distribution, CategoricalDistribution):
            return param_distribution.choices[-trial.number]
        return param_distribution.high if trial.number else param_distribution.low


@dataclass
class Space:
    """The search space of a sweep.

    Args:
        declared: the ``search_space`` functions of model and data.
        searched: distributions of ``--search``, by name.
        fixed: values of flags that are not searched, by name.
    """

    declared: Sequence[Callable[[Any], None]]
    searched: Mapping[str, BaseDistribution]
    fixed: Mapping[str, Any]

    def draw(self, trial: Any) -> dict[str, Any]:
        """Return the values of a trial by the names of their flags."""
        drawing = Drawing(trial, self.searched, self.fixed)
        for declared in self.declared:
            declared(drawing)
        for name, searched in self.searched.items():
            if name not in drawing.drawn:
                drawing.drawn[name] = suggest(trial, name, searched)
        return drawing.drawn

    @cached_property
    def probes(self) -> list[Mapping[str, tuple[Any, BaseDistribution]]]:
        """Values and distributions of trials that are never run: both ends of each range, and random ones.

        Raises:
            UsageError: If a range of ``search_space`` is none.
        """
        study = optuna.create_study(sampler=Ends())
        found: list[Mapping[str, tuple[Any, BaseDistribution]]] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of steps that do not meet the high end
            for number in range(PROBES):
                if number == 2:
                    study.sampler = optuna.samplers.RandomSampler(0)
                trial = study.ask()
                try:
                    drawn = self.draw(trial)
                except ValueError as error:
                    raise UsageError(f"search space: {error}") from error
                found.append({name: (value, trial.distributions[name]) for name, value in drawn.items()})
        return found

    @property
    def always(self) -> set[str]:
        """The names that every trial draws."""
        return set.intersection(*map(set, self.probes))

    @property
    def texts(self) -> dict[str, list[str]]:
        """The distributions of each name in the syntax of ``--search``; several if they vary between trials."""
        found: dict[str, set[str]] = {}
        for probe in self.probes:
            for name, (_, values) in probe.items():
                found.setdefault(name, set()).add(text_of(values))
        return {name: sorted(texts) for name, texts in found.items()}

    def require_valid(self, parser: Parser) -> None:
        """Raise UsageError unless there is something to search, and the flags take all of it."""
        for probe in self.probes:
            if not probe:
                free = sorted({name for each in Space(self.declared, {}, {}).probes for name in each})
                given = (
                    f": {', '.join(f'--{name}' for name in free)} {'is' if len(free) == 1 else 'are'} given"
                    if free
                    else ""
                )
                raise UsageError(
                    f"nothing is left to search{given}; name a flag with --search learning_rate=1e-4..1e-1:log"
                )
            if held := HELD & probe.keys():
                raise UsageError(f"--{min(held)} cannot be searched: give it, or make a sweep of each")
            values = {name: value for name, (value, _) in probe.items()}
            for name, read in read_values(parser, values, "search space").items():
                value = values[name]
                if isinstance(value, PLAIN) and (read != value or isinstance(read, bool) != isinstance(value, bool)):
                    raise UsageError(f"search space: --{name} converts {value!r} to {read!r}")

    def with_values(self, flags: Namespace, drawn: Mapping[str, Any], parser: Parser) -> Namespace:
        """Return flags with the values of a trial, as the flags convert them."""
        args = copy(flags)
        for name, value in read_values(parser, drawn, "search space").items():
            setattr(args, find_action(parser, name).dest, value)
        return args

    def grid(self) -> dict[str, list[Any]]:
        """Return all values of each name.

        Raises:
            UsageError: If they cannot be listed.
        """
        first, *others = ({name: values for name, (_, values) in probe.items()} for probe in self.probes)
        if any(other != first for other in others):
            raise UsageError("--sampler grid needs a space that is the same in every trial")
        for name, values in first.items():
            if all_values(values) is None:
                raise UsageError(
                    f"--sampler grid needs values, not a range: --search {name}=VALUE,VALUE or LOW..HIGH:STEP"
                )
        return {name: all_values(values) or [] for name, values in first.items()}
