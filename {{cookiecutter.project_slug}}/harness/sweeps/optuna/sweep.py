"""A sweep, as its command line describes it."""

import hashlib
import json
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.cli.parser import Parser
from harness.cli.run_flags import COMMANDS, resolve
from harness.cli.sources import BuildParser, Source, given_flags, parse_words, read_sources, with_command
from harness.config_files import plain
from harness.errors import UsageError
from harness.found import DATA, MODELS
from harness.runs.run import run_of
from harness.sweeps.optuna.definition import Definition
from harness.sweeps.optuna.flags import DIRECTIONS, N_TRIALS, TESTS, sweep_flags
from harness.sweeps.optuna.space import Space, parse_search
from harness.words import find_action, flag_words

MODES = {"minimize": "min", "maximize": "max"}
OF_TEST = re.compile(r"(?!val)(test([_/.]|$)|.*[_/.]test$)")  # names of metrics
# Flags that an existing study does not restore: the machine's own, and those with records of their own.
NOT_KEPT = {"config", "default_root_dir", "n_trials", "pruner", "report", "sampler", "storage", "study_name", "workers"}


@dataclass
class Sweep:
    """The flags of a sweep, its search space and its objectives.

    Args:
        flags: flags of main.py and of the sweep, before ``resolve``.
        parser: the parser of all flags.
        ckpt_path: checkpoint that trials start from, or None.
        space: the search space.
        metrics: names of the objectives.
        directions: minimize or maximize, for each metric.
        given: flags that are given, and so not searched.
        tests_all: whether every trial is tested, not the best alone.
    """

    flags: Namespace
    parser: Parser
    ckpt_path: str | None
    space: Space
    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    given: dict[str, Any]
    tests_all: bool

    @cached_property
    def name(self) -> str:
        """The name of the study: as given, or made from the model and all that defines the sweep."""
        defined = {**self.definition().identity(), "--sampler": self.flags.sampler, "--pruner": self.pruner}
        text = json.dumps(defined, sort_keys=True)
        return self.flags.study_name or f"{self.flags.model_name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def directory(self) -> Path:
        """The directory of runs, logs and report."""
        return directory_of(self.flags, self.name)

    @cached_property
    def n_trials(self) -> int:
        """Total number of trials."""
        if self.grid is None:
            return self.flags.n_trials or N_TRIALS
        points = 1
        for values in self.grid.values():
            points *= len(values)
        return min(self.flags.n_trials or points, points)

    @cached_property
    def grid(self) -> dict[str, list[Any]] | None:
        """All values of each name for ``--sampler grid``, else None."""
        return self.space.grid() if self.flags.sampler == "grid" else None

    @property
    def pruner(self) -> str:
        """Name and options of the pruner."""
        return self.flags.pruner or ("median" if len(self.metrics) == 1 else "none")

    def run_args(self, drawn: Mapping[str, Any]) -> Namespace:
        """Return the flags of the run of a trial, without its test, as ``train`` takes them.

        Raises:
            UsageError: If the flags contradict each other.
        """
        flags = vars(self.space.with_values(self.flags, drawn, self.parser))
        own = {name: value for name, value in flags.items() if name not in sweep_flags()}
        args = resolve(Namespace(**{**own, TESTS: False, "resume_from_checkpoint": None, "ckpt_path": self.ckpt_path}))
        if self.flags.monitor is not None or self.flags.direction is not None:  # and not as the model names it
            args.monitor, args.monitor_mode = self.metrics[0], MODES[self.directions[0]]
        return args

    def command(self, args: Namespace) -> list[str]:
        """Return the words after ``python main.py`` that repeat the run of a trial, and test it."""
        values = {**vars(args), TESTS: True}
        first = [f"--model_name={args.model_name}"]
        # That a value is the default, flag_words finds too, but slowly.
        actions = [each for each in self.parser._actions if values.get(each.dest, each.default) != each.default]
        words = [flag_words(self.parser, each.dest, values[each.dest]) for each in actions if is_repeated(each.dest)]
        return first + [word for each in words for word in each]

    def definition(self) -> Definition:
        """Return the definition, which decides whether a study is the same."""
        flags = {name: plain(value) for name, value in vars(self.run_args({})).items() if name not in self.space.always}
        given = {name: plain(value) for name, value in self.given.items() if name not in NOT_KEPT}
        return Definition(list(self.metrics), list(self.directions), self.space.texts, flags, given)

    @property
    def defaults(self) -> dict[str, Any]:
        """The defaults of all flags, as plain values."""
        return {action.dest: plain(action.default) for action in self.parser._actions}


def is_repeated(name: str) -> bool:
    """Return whether the command line that repeats a run has a flag; the test is main.py's default."""
    return name not in ("model_name", "config", "command", TESTS)


def directory_of(flags: Namespace, name: str) -> Path:
    """Return the directory of a study: runs, logs and report."""
    return Path(flags.default_root_dir or ".", "sweeps", name)


def read_sweep(argv: Sequence[str], build_parser: BuildParser, stored: Definition | None = None) -> Sweep:
    """Return the sweep that a command line describes.

    Args:
        argv: the command line.
        build_parser: returns the parser, including the flags of a sweep.
        stored: the flags of an existing study, which the command line may omit.

    Raises:
        UsageError: If there is nothing to search, a flag does not take its value, or flags contradict each other.
    """
    words = with_command(argv, COMMANDS)
    start = stored.flags.get("ckpt_path") if stored is not None else None
    if start and not any(word.split("=")[0] in ("--ckpt_path", "--resume_from_checkpoint") for word in words):
        words.append(f"--ckpt_path={start}")
    named, configs, checkpoint = read_sources(words)
    sources = [*configs, *([] if checkpoint is None else [checkpoint])]
    if stored is not None:
        sources.insert(len(configs), Source("the study", settings_of(stored, [*configs, Source("", vars(named))])))
    flags, parser = parse_words(build_parser, words, sources)
    allow_absent(parser)
    typed = given_flags(parser, words)
    chosen = typed | {
        action.dest for each in configs for name in each.settings if (action := find_action(parser, name))
    }
    earlier = set(stored.given) if stored is not None else set()
    if flags.command != "fit":
        raise UsageError(f"a sweep trains: leave out {flags.command}")
    if flags.num_nodes > 1:
        raise UsageError("trials do not go over several machines: give each machine the same command with --storage")
    path = checkpoint.name if checkpoint is not None else None
    if flags.run_name is not None:
        raise UsageError("--run_name names one run: the name of a sweep is --study_name")
    if flags.ckpt_path in ("best", "last"):
        raise UsageError(f"--ckpt_path {flags.ckpt_path} is another file after the next run: give {path}")
    if run_of(path):
        raise UsageError(f"{path} goes on in its own run: start from another checkpoint, as the best of that run")

    searched = dict(parse_search(word, parser) for word in flags.search or [])
    if fixed := searched.keys() & typed:
        raise UsageError(f"--{min(fixed)} is given and searched: leave one of them out")
    tests_all = TESTS in typed | earlier and getattr(flags, TESTS)
    unsearched = (chosen | earlier) - searched.keys() - (set() if tests_all else {TESTS})
    given = {name: getattr(flags, name) for name in unsearched if name in flags}
    metrics, directions = objectives(flags)
    if len(metrics) > 1 and flags.pruner not in (None, "none"):
        raise UsageError(f"--pruner {flags.pruner} needs one metric: Optuna prunes by one")
    own = sweep_flags()
    fixed_values = {name: value for name, value in given.items() if name not in own}
    space = Space([] if flags.search_only else declared_spaces(flags), searched, fixed_values)
    space.require_valid(parser)
    sweep = Sweep(flags, parser, path, space, metrics, directions, given, tests_all)
    sweep.run_args({})  # contradictions
    sweep.n_trials  # noqa: B018  a space that is no grid
    return sweep


def settings_of(stored: Definition, stronger: Sequence[Source]) -> dict[str, Any]:
    """Return the flags of a study that a command line may omit, unless it is of another model."""
    given = {name: value for each in stronger for name, value in each.settings.items() if value is not None}
    if given.get("model_name", stored.flags["model_name"]) != stored.flags["model_name"]:
        return {}  # the difference is refused when the study is opened
    return {**stored.counted(), **stored.given}


def allow_absent(parser: ArgumentParser) -> None:
    """Let all flags of a parser be absent: those that are required were given."""
    for action in parser._actions:
        action.required = False
    for group in parser._mutually_exclusive_groups:
        group.required = False
    parser.origins = {}  # type: ignore[attr-defined]


def objectives(flags: Namespace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the metrics to optimize, and the direction of each.

    Raises:
        UsageError: If the model names no metric, or a direction is missing.
    """
    file, model = MODELS.file(flags.model_name), MODELS[flags.model_name].declaration
    own = getattr(model, "monitor", None)
    metrics = tuple((flags.monitor or own or "").split(","))
    if not all(metrics):
        raise UsageError(f"{file} names no metric: give --monitor METRIC --direction {'|'.join(DIRECTIONS)}")
    if of_test := [metric for metric in metrics if OF_TEST.match(metric)]:
        raise UsageError(
            f"{of_test[0]} is a metric of test: choose by validation, as in --monitor val_loss --direction minimize"
        )
    if flags.direction is not None:
        if len(flags.direction) != len(metrics):
            raise UsageError(f"--direction {','.join(flags.direction)} must have one for each of {', '.join(metrics)}")
        return metrics, tuple(flags.direction)
    mode = flags.monitor_mode or (getattr(model, "monitor_mode", "min") if metrics == (own,) else None)
    if mode is None or len(metrics) > 1:
        raise UsageError(f"--monitor {','.join(metrics)} needs --direction, one of minimize and maximize for each")
    return metrics, ("minimize" if mode == "min" else "maximize",)


def declared_spaces(flags: Namespace) -> list[Callable[[Any], None]]:
    """Return the ``search_space`` functions of the model, and of the data if it takes some."""
    folders = [(MODELS, flags.model_name)]
    if not MODELS[flags.model_name].brings_data:
        folders.append((DATA, flags.data_name))
    found = []
    for folder, name in folders:
        declared = folder[name].declaration
        if hasattr(declared, "search_space"):
            try:  # read without its imports, it may lack a name that it uses
                Space([declared.search_space], {}, {}).probes  # noqa: B018
            except (NameError, AttributeError):
                declared = folder.load(name)
            found.append(declared.search_space)
    return found
