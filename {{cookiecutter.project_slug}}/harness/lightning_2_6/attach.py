"""The connection of this folder to a Trainer."""

from argparse import Namespace
from typing import Any

from harness.lightning_2_6.loops import FitLoop, OwnSignals
from harness.lightning_2_6.state import Resume
from harness.runs.run import Run
from harness.training.boundaries import PublicBoundaries


def attach(trainer: Any, args: Namespace, run: Run) -> None:
    """Give a Trainer the loops, the callback that restores its state, and no signal handlers of Lightning's."""
    callbacks = [each for each in trainer.callbacks if not isinstance(each, PublicBoundaries)]
    trainer.callbacks = [Resume(args.seed, stay_stopped=run.resumes and not run.is_finished), *callbacks]
    trainer._signal_connector = OwnSignals(trainer)
    if args.command == "fit":
        trainer.fit_loop = FitLoop(trainer, args.seed)
