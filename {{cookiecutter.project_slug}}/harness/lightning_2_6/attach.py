"""The one function that gives a Trainer the loops, the state and the signal handling of this folder."""

from argparse import Namespace
from typing import Any

from harness.lightning_2_6.loops import FitLoop, OwnSignals
from harness.lightning_2_6.state import Resume
from harness.runs.run import Run
from harness.training.boundaries import PublicBoundaries


def attach(trainer: Any, args: Namespace, run: Run) -> None:
    """Attach everything to a Trainer."""
    callbacks = [each for each in trainer.callbacks if not isinstance(each, PublicBoundaries)]
    trainer.callbacks = [Resume(args.seed, stay_stopped=run.resumes and not run.is_finished), *callbacks]
    trainer._signal_connector = OwnSignals(trainer)
    if args.command == "fit":
        trainer.fit_loop = FitLoop(trainer, args.seed)
