"""What a sweep draws: the search space that model and data declare, and what ``--search`` makes of it."""

import random
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from harness.cli.config_files import apply_configs, as_setting, settable
from harness.errors import UsageError
from harness.sweeps.optuna.definition import shown

PROBES = 40  # draws that are tried before the first trial
# Which flags there are, how trials are compared and where they lie hangs on these.
HELD = {"ckpt_path", "command", "config", "data_name", "default_root_dir", "model_name", "monitor", "monitor_mode"}
HELD |= {"test_after_fit"}
PLAIN = int, float, str, bool, type(None)  # what a study can keep as it is


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones if both are ints."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __str__(self) -> str:
        """Return it as ``--search`` takes it."""
        end = ":log" if self.log else "" if self.step is None else f":{self.step}"
        return f"{self.low}..{self.high}{end}"

    def draw(self, trial: Any, name: str) -> float:
        """Return a number that a trial draws."""
        kind = "int" if isinstance(self.low, int) else "float"
        step = {} if self.step is None else {"step": self.step}
        number: float = getattr(trial, f"suggest_{kind}")(name, self.low, self.high, log=self.log, **step)
        return number

    def values(self) -> list[float] | None:
        """Return all numbers in the range, or None if they are too many to try."""
        if self.low == self.high:
            return [self.low]
        step = self.step or (1 if isinstance(self.low, int) and not self.log else None)
        if step is None:
            return None
        return [self.low + number * step for number in range(int((self.high - self.low) / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    choices: tuple[Any, ...]

    def __str__(self) -> str:
        """Return it as ``--search`` takes it."""
        return ",".join(map(shown, self.choices))

    def draw(self, trial: Any, name: str) -> Any:
        """Return a value that a trial draws."""
        return trial.suggest_categorical(name, self.choices)

    def values(self) -> list[Any]:
        """Return all of them."""
        return list(self.choices)


def parse_search(word: str, parser: ArgumentParser) -> tuple[str, Range | Choice]:
    """Return the name and the values in a word of ``--search``.

    Args:
        word: NAME=LOW..HIGH, which may end in :log or :STEP, or NAME=VALUE,VALUE.
        parser: has the flag, whose type decides what the values are.

    Raises:
        UsageError: there is no such flag, it does not take these values, or they are no range.
    """
    name, equals, text = word.removeprefix("--").partition("=")
    low, dots, rest = text.partition("..")
    if not equals or not text:
        raise UsageError(f"--search {word}: write NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=VALUE,VALUE")
    if "..." in text:  # .1e-2 is a number, too
        raise UsageError(f"--search {word}: write two dots, as in {name}={text.replace('...', '..')}")

    def read(value: str) -> Any:
        flags = Namespace()
        if apply_configs(parser, [(f"--search {word}", {name: value})], flags):
            parser.parse_args([f"--{name}={value}"])  # says that it is unknown, and what is near
        return next(iter(vars(flags).values()))

    if not dots:
        values = tuple(value if isinstance(value := read(part), PLAIN) else part for part in text.split(","))
        if len(set(map(repr, values))) < len(values):
            raise UsageError(f"--search {word}: a value comes twice")
        return name, Choice(values)
    high, _, end = rest.partition(":")
    ends = [read(low), read(high)]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in ends):
        raise UsageError(f"--search {word}: --{name} takes no numbers; list its values: {name}=VALUE,VALUE")
    if not all(isinstance(value, int) for value in ends):
        ends = [float(value) for value in ends]
    try:
        step = None if end in ("", "log") else type(ends[0])(end)
    except ValueError:
        raise UsageError(f"--search {word}: after : comes log or the step, not {end!r}") from None
    found = Range(ends[0], ends[1], log=end == "log", step=step)
    if not found.low <= found.high or (step is not None and step <= 0) or (found.log and found.low <= 0):
        raise UsageError(f"--search {word} is no range" + (": log needs numbers above 0" if found.log else ""))
    return name, found


class Drawing:
    """Stands before a trial while a search space draws from it, and gives what is searched or fixed otherwise.

    Args:
        trial: what draws.
        searched: values to draw in place of what the space asks for.
        fixed: values not to draw at all.
    """

    def __init__(self, trial: Any, searched: Mapping[str, Range | Choice], fixed: Mapping[str, Any]) -> None:
        """Begin with nothing drawn."""
        self._trial, self._searched, self._fixed = trial, searched, fixed
        self.drawn: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        """Return a ``suggest_`` method, or whatever else a trial has."""
        attribute = getattr(self._trial, name)
        if not name.startswith("suggest_"):
            return attribute

        def suggest(flag: str, *args: Any, **kwargs: Any) -> Any:
            if flag in self._fixed:
                return self._fixed[flag]
            searched = self._searched.get(flag)
            value = attribute(flag, *args, **kwargs) if searched is None else searched.draw(self._trial, flag)
            self.drawn[flag] = value
            return value

        return suggest


@dataclass
class Space:
    """What a sweep draws.

    Args:
        declared: the ``search_space`` functions of model and data.
        searched: what ``--search`` says, by name.
        fixed: values of flags that are held, by name.
    """

    declared: Sequence[Callable[[Any], None]]
    searched: Mapping[str, Range | Choice]
    fixed: Mapping[str, Any]

    def draw(self, trial: Any) -> dict[str, Any]:
        """Return the values that a trial draws, by the names of their flags."""
        drawing = Drawing(trial, self.searched, self.fixed)
        for declared in self.declared:
            declared(drawing)
        for name, searched in self.searched.items():
            if name not in drawing.drawn:
                drawing.drawn[name] = searched.draw(trial, name)
        return drawing.drawn

    def probes(self) -> list["Probe"]:
        """Return draws without a study: of the low ends, of the high ends, and at random."""
        probes = [Probe(number) for number in range(PROBES)]
        for probe in probes:
            probe.drawn = self.draw(probe)
        return probes

    def require_legal(self, parser: ArgumentParser, flags: Namespace) -> None:
        """Raise UsageError unless there is something to draw, and the flags take all of it.

        Args:
            parser: has the flags.
            flags: those that are not drawn.
        """
        for probe in self.probes():
            if not probe.drawn:
                free = {name for probe in Space(self.declared, {}, {}).probes() for name in probe.drawn}
                held = f": {', '.join(sorted(free))} are held, as given" if free else ""
                raise UsageError(
                    f"there is nothing to search{held}; name it, as in --search learning_rate=1e-4..1e-1:log"
                )
            if unsearched := HELD & probe.drawn.keys():
                raise UsageError(f"--{min(unsearched)} cannot be searched: give it, or make a sweep of each")
            with_drawn(flags, probe.drawn, parser)

    def grid(self) -> dict[str, list[Any]]:
        """Return all values of each name, for a search over every combination.

        Raises:
            UsageError: they cannot be listed.
        """
        first, *others = self.probes()
        if any(other.asked != first.asked for other in others):
            raise UsageError("--sampler grid needs a space that is the same in every trial")
        for name, asked in first.asked.items():
            if asked.values() is None:
                raise UsageError(
                    f"--sampler grid needs values, not a range: --search {name}=VALUE,VALUE or LOW..HIGH:STEP"
                )
        return {name: asked.values() or [] for name, asked in first.asked.items()}


def with_drawn(flags: Namespace, drawn: Mapping[str, Any], parser: ArgumentParser) -> Namespace:
    """Return ``flags`` with values that a trial has drawn, each as its flag takes it.

    Raises:
        UsageError: there is no such flag, or it does not take the value.
    """
    values = Namespace()
    settings = {name: as_setting(value) for name, value in drawn.items()}
    for _, name in apply_configs(parser, [("search space", settings)], values):
        parser.parse_args([f"--{name}=x"])  # says that it is unknown, and what is near
    for name, value in drawn.items():
        read = getattr(values, settable(parser, name).dest)
        if isinstance(value, PLAIN) and (read != value or isinstance(read, bool) != isinstance(value, bool)):
            raise UsageError(f"search space: --{name} makes {read!r} of {value!r}")
    return Namespace(**{**vars(copy(flags)), **vars(values)})


@dataclass
class Probe:
    """Stands in for a trial: draws the low end of each range, the high end, or a value between them.

    Args:
        number: 0 for the low ends, 1 for the high ones, others seed random values.
    """

    number: int
    drawn: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, Range | Choice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Seed."""
        self._random = random.Random(self.number)
        self._share = {0: 0.0, 1: 1.0}.get(self.number)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a float."""
        share = self._asked(name, Range(float(low), float(high), log, step))
        if log:
            return min(max(low * (high / low) ** share, low), high)
        return low + (high - low) * share if step is None else low + int((high - low) * share / step + 1e-9) * step

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return an int."""
        share = self._asked(name, Range(low, high, log, None if step == 1 else step))
        return low + int((high - low) * share) // step * step

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices."""
        if not choices:
            raise UsageError(f"search space: {name} has no choices")
        self.asked[name] = Choice(tuple(choices))
        return choices[0] if self._share == 0 else choices[-1] if self._share else self._random.choice(choices)

    def _asked(self, name: str, range_: Range) -> float:
        """Keep what was asked for, and return how far between its ends the value lies."""
        if not range_.low <= range_.high or (range_.log and range_.low <= 0):
            raise UsageError(f"search space: {name} from {range_.low} to {range_.high} is no range")
        if range_.log and range_.step is not None:
            raise UsageError(f"search space: {name} has a step and log, which exclude each other")
        self.asked[name] = range_
        return self._random.random() if self._share is None else self._share
