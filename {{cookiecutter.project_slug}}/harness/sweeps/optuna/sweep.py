"""A sweep, as its command line describes it."""

import hashlib
import json
import re
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import found as modules
from harness.cli.config_files import plain
from harness.cli.parser import Parser
from harness.cli.run_flags import resolve
from harness.cli.words import flag_words
from harness.errors import UsageError
from harness.runs.run import run_of
from harness.sweeps.optuna.definition import Definition
from harness.sweeps.optuna.flags import DIRECTIONS, N_TRIALS, TESTS, add_sweep_args
from harness.sweeps.optuna.space import Space, parse_search, with_drawn

MODES = {"minimize": "min", "maximize": "max"}
OF_TEST = re.compile(r"(?!val)(test([_/.]|$)|.*[_/.]test$)")  # names of metrics
# Flags that an existing study does not restore: the machine's own, and those with records of their own.
NOT_KEPT = {"config", "default_root_dir", "n_trials", "pruner", "report", "sampler", "storage", "study_name", "workers"}


@dataclass
class Sweep:
    """What is searched, how, and where it is kept.

    Args:
        args: the flags of the sweep.
        flags: those of main.py, as they were typed.
        words: of the command line, those that main.py takes.
        parser: of the whole command line.
        ckpt_path: the checkpoint that trials start from.
        space: what trials draw.
        metrics: what is to become best, one or more.
        directions: of each metric, minimize or maximize.
        given: flags of the sweep and of main.py that the command line gives, by name.
        tests_all: whether every trial is tested, not the best alone.
        taken: flags of an existing study that the command line omits, as words.
    """

    args: Namespace
    flags: Namespace
    words: list[str]
    parser: Parser
    ckpt_path: str | None
    space: Space
    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    given: dict[str, Any]
    tests_all: bool
    taken: list[str] = field(default_factory=list)

    @cached_property
    def name(self) -> str:
        """The name of the study: as given, or made from the model and all that defines the sweep."""
        defined = {**self.definition().identity(), "--sampler": self.args.sampler, "--pruner": self.pruner}
        text = json.dumps(defined, sort_keys=True)
        return self.args.study_name or f"{self.flags.model_name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def directory(self) -> Path:
        """Where its runs, its logs and its report go."""
        return directory_of(self.flags, self.name)

    @property
    def n_trials(self) -> int:
        """How many trials there are to be in all."""
        if self.args.sampler != "grid":
            return self.args.n_trials or N_TRIALS
        points = 1
        for values in self.space.grid().values():
            points *= len(values)
        return min(self.args.n_trials or points, points)

    def run_args(self, drawn: Mapping[str, Any]) -> Namespace:
        """Return the flags of the run that a trial makes, as ``train`` takes them.

        Raises:
            UsageError: the flags do not go together.
        """
        flags = vars(with_drawn(self.flags, drawn, self.parser))
        args = resolve(Namespace(**{**flags, TESTS: False}))
        if self.ckpt_path is not None:
            args.ckpt_path = self.ckpt_path
        if self.names_monitor:
            args.monitor, args.monitor_mode = self.metrics[0], MODES[self.directions[0]]
        return args

    def command(self, drawn: Mapping[str, Any], **more: Any) -> list[str]:
        """Return the words after ``python main.py`` that repeat the run of a trial, and test it."""
        start: dict[str, Any] = {"ckpt_path": self.ckpt_path} if self.ckpt_path is not None else {}
        if self.flags.config or start:  # either may turn the test off
            start[TESTS] = True
        monitor = {"monitor": self.metrics[0], "monitor_mode": MODES[self.directions[0]]} if self.names_monitor else {}
        named = {**start, **monitor, **drawn, **more}
        return self.words + [word for name, value in named.items() for word in flag_words(self.parser, name, value)]

    @property
    def names_monitor(self) -> bool:
        """Whether the command line says what is to become best, and not the model."""
        return self.flags.monitor is not None or self.args.direction is not None

    def definition(self) -> Definition:
        """Return the definition, by which a study is compared with this sweep."""
        probes = self.space.probes()
        always = set.intersection(*(set(probe.drawn) for probe in probes))
        space: dict[str, set[str]] = {}
        for name, values in (pair for probe in probes for pair in probe.asked.items()):
            space.setdefault(name, set()).add(str(values))
        return Definition(
            metrics=list(self.metrics),
            directions=list(self.directions),
            space={name: sorted(texts) for name, texts in space.items()},
            flags={name: plain(value) for name, value in vars(self.run_args({})).items() if name not in always},
            given={name: plain(value) for name, value in self.given.items() if name not in NOT_KEPT},
        )

    def single_values(self) -> dict[str, Any]:
        """Return the names with a single value in the search space, and that value."""
        lists: dict[str, list[Any]] = {}
        for name, range_ in (pair for probe in self.space.probes() for pair in probe.asked.items()):
            lists.setdefault(name, []).append(range_.values() or [])
        return {name: found[0][0] for name, found in lists.items() if all(each == found[0][:1] != [] for each in found)}

    @property
    def defaults(self) -> dict[str, Any]:
        """The defaults of all flags, with plain values."""
        return {action.dest: plain(action.default) for action in self.parser._actions}

    @property
    def pruner(self) -> str:
        """What stops trials that do badly."""
        return self.args.pruner or ("median" if len(self.metrics) == 1 else "none")


def directory_of(flags: Namespace, name: str) -> Path:
    """Return the directory of a study: runs, logs and report."""
    return Path(flags.default_root_dir or ".", "sweeps", name)


def read_sweep(argv: Sequence[str], parser: Parser, ckpt_path: str | None) -> Sweep:
    """Return the sweep that a command line describes.

    Args:
        argv: the command line.
        parser: takes it.
        ckpt_path: the checkpoint that it names.

    Raises:
        UsageError: there is nothing to search, or the flags do not take it, or contradict each other.
    """
    flags = parser.parse_args(argv)
    chosen, typed = parser.chosen, parser.given(argv)
    own_parser = Parser(add_help=False)
    add_sweep_args(own_parser)
    own = {name: vars(flags).pop(name) for name in vars(own_parser.parse_args([]))}
    if in_file := own.keys() & (chosen - typed):  # the line that repeats a trial names the same file
        raise UsageError(f"--{min(in_file)} is not main.py's, which reads the same --config: give it as a flag")
    for name in (
        "ckpt_path",
        "resume_from_checkpoint",
        "monitor",
        "monitor_mode",
        TESTS,
    ):  # added as the trial has them
        own_parser.add_argument(f"--{name}", nargs="?")
    _, words = own_parser.parse_known_args(argv)
    args = Namespace(**own)
    if flags.command != "fit":
        raise UsageError(f"a sweep trains: leave out {flags.command}")
    if flags.num_nodes > 1:
        raise UsageError("trials do not go over several machines: give each machine the same command with --storage")
    if flags.ckpt_path in ("best", "last"):
        raise UsageError(f"--ckpt_path {flags.ckpt_path} is another file after the next run: give {ckpt_path}")
    if run_of(ckpt_path):
        raise UsageError(f"{ckpt_path} goes on in its own run: start from another checkpoint, as the best of that run")

    searched = dict(parse_search(word, parser) for word in args.search or [])
    if fixed := searched.keys() & typed:
        raise UsageError(f"--{min(fixed)} is given and searched: leave one of them out")
    held = {name: getattr(flags, name) for name in chosen - searched.keys() if name in flags}
    metrics, directions = objectives(args, flags)
    if len(metrics) > 1 and args.pruner not in (None, "none"):
        raise UsageError(f"--pruner {args.pruner} needs one metric: Optuna prunes by one")
    space = Space([] if args.search_only else declared_spaces(flags), searched, held)
    space.require_legal(parser, flags)
    if args.sampler == "grid":
        space.grid()
    start = None if ckpt_path == "none" else ckpt_path
    given = {name: value for name, value in {**vars(flags), **own}.items() if name in chosen - searched.keys()}
    tests_all = TESTS in typed and getattr(flags, TESTS)
    return Sweep(args, flags, words, parser, start, space, metrics, directions, given, tests_all)


def objectives(args: Namespace, flags: Namespace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the metrics, and the direction of each.

    Raises:
        UsageError: the model names none, or it is not said in which direction.
    """
    file = modules.file_of("models", flags.model_name)
    model = modules.declaration("models", flags.model_name)
    own = getattr(model, "monitor", None)
    metrics = tuple((flags.monitor or own or "").split(","))
    if not all(metrics):
        raise UsageError(f"{file} names no metric: give --monitor METRIC --direction {'|'.join(DIRECTIONS)}")
    if of_test := [metric for metric in metrics if OF_TEST.match(metric)]:
        raise UsageError(
            f"{of_test[0]} is a metric of test: choose by validation, as in --monitor val_loss --direction minimize"
        )
    if args.direction is not None:
        if len(args.direction) != len(metrics):
            raise UsageError(f"--direction {','.join(args.direction)} must have one for each of {', '.join(metrics)}")
        return metrics, args.direction
    mode = flags.monitor_mode or (getattr(model, "monitor_mode", "min") if metrics == (own,) else None)
    if mode is None or len(metrics) > 1:
        raise UsageError(f"--monitor {','.join(metrics)} needs --direction, one of minimize and maximize for each")
    return metrics, ("minimize" if mode == "min" else "maximize",)


def declared_spaces(flags: Namespace) -> list[Callable[[Any], None]]:
    """Return the ``search_space`` functions of the model, and of the data if it takes some."""
    folders = {"models": flags.model_name}
    if not modules.brings_data(modules.declaration("models", flags.model_name)):
        folders["data"] = flags.data_name
    found = []
    for folder, name in folders.items():
        module_class = modules.declaration(folder, name)
        if hasattr(module_class, "search_space"):
            try:  # read without its imports, it may lack something that it calls
                Space([module_class.search_space], {}, {}).probes()
            except (NameError, AttributeError):
                module_class = modules.load(folder, name)
            found.append(module_class.search_space)
    return found
