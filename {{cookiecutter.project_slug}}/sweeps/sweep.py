"""A sweep, as its command line describes it."""

import hashlib
import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import modules
from args import UsageError
from command_line import Parser
from config_files import plain
from program_args import resolve
from runs import run_of
from sweeps.flags import DIRECTIONS, N_TRIALS, add_sweep_args
from sweeps.space import Space, parse_search, with_drawn
from words import flag_words

MODES = {"minimize": "min", "maximize": "max"}
# Flags that do not make it another sweep: where it runs, and where it lies.
ELSEWHERE = {"accelerator", "devices", "num_threads", "default_root_dir", "config"}


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
    """

    args: Namespace
    flags: Namespace
    words: list[str]
    parser: Parser
    ckpt_path: str | None
    space: Space
    metrics: tuple[str, ...]
    directions: tuple[str, ...]

    @cached_property
    def name(self) -> str:
        """The name of the study: as given, or made from the model and all that defines the sweep."""
        text = json.dumps(self.definition(), sort_keys=True)
        return self.args.study_name or f"{self.flags.model_name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def directory(self) -> Path:
        """Where its runs, its logs and its report go."""
        return Path(self.flags.default_root_dir or ".", "sweeps", self.name)

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
        args = resolve(Namespace(**flags))
        if self.ckpt_path is not None:
            args.ckpt_path = self.ckpt_path
        if self.names_monitor:
            args.monitor, args.monitor_mode = self.metrics[0], MODES[self.directions[0]]
        return args

    def command(self, drawn: Mapping[str, Any], **more: Any) -> list[str]:
        """Return the words after ``python main.py`` that repeat the run of a trial."""
        start = {"ckpt_path": self.ckpt_path} if self.ckpt_path is not None else {}
        monitor = {"monitor": self.metrics[0], "monitor_mode": MODES[self.directions[0]]} if self.names_monitor else {}
        named = {**start, **monitor, **drawn, **more}
        return self.words + [word for name, value in named.items() for word in flag_words(self.parser, name, value)]

    @property
    def names_monitor(self) -> bool:
        """Whether the command line says what is to become best, and not the model."""
        return self.flags.monitor is not None or self.args.direction is not None

    def definition(self) -> dict[str, Any]:
        """Return what makes it this sweep and no other, as plain values."""
        run = vars(self.run_args({}))
        asked = sorted({f"{name}: {range_}" for probe in self.space.probes() for name, range_ in probe.asked.items()})
        return {
            "metrics": list(self.metrics),
            "directions": list(self.directions),
            "sampler": self.args.sampler,
            "pruner": self.pruner,
            "space": asked,
            **{name: plain(value) for name, value in run.items() if name not in ELSEWHERE},
        }

    @property
    def pruner(self) -> str:
        """What stops trials that do badly."""
        return self.args.pruner or ("median" if len(self.metrics) == 1 else "none")


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
    for name in ("ckpt_path", "resume_from_checkpoint", "monitor", "monitor_mode"):  # added as the trial has them
        own_parser.add_argument(f"--{name}")
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
    return Sweep(args, flags, words, parser, start, space, metrics, directions)


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
