"""The functions of ``sweep_optuna.py``, and the trial that its objective receives."""

import os
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.cli.sources import BuildParser, parse_args
from harness.errors import RunError
from harness.runs.processes import RUN_DIR
from harness.sweeps.optuna.flags import sweep_flags
from harness.sweeps.run import run_in

PROGRAM = "sweep_optuna.py"
OBJECTIVES = "LIT_OBJECTIVES"  # environment variable of the processes of a run: the metrics of its sweep

Train = Callable[..., Mapping[str, float]]  # train of train.py
Values = float | Sequence[float]  # what an objective returns


@dataclass
class Trial:
    """A trial, as the objective in ``sweep_optuna.py`` receives it.

    Args:
        args: all flags, with the values that the trial searches.
        run_dir: directory of its run.
        metrics: names of the metrics that the sweep optimizes.
        callbacks: callbacks that report the first of them.
        watch: passes on reports of a run in other processes.
        is_process: whether this process is one of those in which a sweep runs the trial.
    """

    args: Namespace
    run_dir: Path
    metrics: tuple[str, ...]
    callbacks: Sequence[Any] = ()
    watch: Callable[[], None] = lambda: None
    is_process: bool = False

    def run(self, train: Train) -> Mapping[str, float]:
        """Return the metrics of a run with the flags of the trial; a killed one is resumed, a bad one pruned.

        Args:
            train: function of train.py.

        Raises:
            UsageError, RunError: If the flags are refused, or the run fails.
        """
        if self.is_process:
            return train(self.args, self.run_dir, callbacks=self.callbacks)
        environment = {OBJECTIVES: ",".join(self.metrics)}
        return run_in(
            self.run_dir, self.args, train, self.callbacks, program=PROGRAM, watch=self.watch, environment=environment
        )

    def values(self, metrics: Mapping[str, float]) -> list[float]:
        """Return the metrics that the sweep optimizes.

        Raises:
            RunError: If the run has no such metric.
        """
        missing = [metric for metric in self.metrics if metric not in metrics]
        if missing:
            raise RunError(f"the run has no metric {' and no '.join(missing)}, but {', '.join(metrics)}")
        return [metrics[metric] for metric in self.metrics]


@dataclass
class Program:
    """The functions of ``sweep_optuna.py``.

    Args:
        build_parser: returns the parser for words that name a model and data.
        objective: returns the value of a trial, or several.
        test: tests the checkpoint in the flags; the directory takes its files.
    """

    build_parser: BuildParser
    objective: Callable[[Trial], Values]
    test: Callable[[Namespace, Path], Mapping[str, float]]

    def run_process(self, words: Sequence[str]) -> None:
        """Run the objective of a trial in one of the processes of its run, which a sweep has started."""
        from harness.sweeps.reports import Reporter, write_report  # Lightning

        run_dir, metrics = Path(os.environ[RUN_DIR]), tuple(os.environ[OBJECTIVES].split(","))
        callbacks = [Reporter(metrics[0], partial(write_report, run_dir))]
        self.objective(Trial(self.read(words), run_dir, metrics, callbacks, is_process=True))

    def read(self, words: Sequence[str]) -> Namespace:
        """Return the flags of a run, without those of a sweep."""
        own = sweep_flags()
        args = vars(parse_args(self.build_parser, words))
        return Namespace(**{name: value for name, value in args.items() if name not in own})
