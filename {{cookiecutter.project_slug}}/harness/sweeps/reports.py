"""Reports of a run to its sweep: the metrics after each validation, and whether training continues."""

import json
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from harness.cli.run_flags import of_validation
from harness.lightning_2_6.loops import RunCallback
from harness.runs.run import REPORTS_FILE, is_first_process

REPORTED = "METRIC_OF_SWEEP"  # environment variable of a run in separate processes: the metric to report


class Reporter(RunCallback):
    """Reports a metric after each validation, or after each epoch if it is not a metric of validation.

    A validation at the end of an epoch is reported when the epoch has ended, after early stopping has decided.

    Args:
        metric: its name.
    """

    def __init__(self, metric: str) -> None:
        """Remember the metric."""
        self.metric = metric
        self.step = 0  # of the last report: the number of reports so far
        self.has_validated = False  # since the last report

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the reports, for the checkpoint."""
        return {"step": self.step, "has_validated": self.has_validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position of the reports."""
        self.step, self.has_validated = state_dict["step"], state_dict.get("has_validated", False)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the validation; the next boundary reports it."""
        self.has_validated = trainer.state.fn == "fit" and not trainer.sanity_checking

    def on_boundary(self, trainer: Any, epoch_is_over: bool) -> None:
        """Report a metric that is new."""
        if not epoch_is_over and is_at_epoch_end(trainer):
            return
        is_time = self.has_validated if of_validation(self.metric) else epoch_is_over
        self.has_validated = False
        if is_time and self.metric in trainer.callback_metrics:
            self.step += 1
            self.report(trainer)

    def report(self, trainer: Any) -> None:
        """Report the metric under ``self.step``."""
        raise NotImplementedError


def is_at_epoch_end(trainer: Any) -> bool:
    """Return whether the last batch of the epoch is done."""
    number = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return bool(trainer.is_last_batch or number == trainer.num_training_batches)


def training_is_over(trainer: Any) -> bool:
    """Return whether no batch of training follows: a limit is reached, or the run stops early."""
    loop = trainer.fit_loop
    epochs, steps = loop.epochs.processed, trainer.global_step
    if loop.max_epochs != -1 and epochs >= loop.max_epochs:
        return True
    if loop.max_steps != -1 and steps >= loop.max_steps:
        return True
    return trainer.should_stop and epochs >= (loop.min_epochs or 0) and steps >= (loop.min_steps or 0)


class FileReporter(Reporter):
    """Reports to the parent process, through a file with a line of JSON for each report.

    Args:
        metric: its name.
        file: where the reports go.
    """

    def __init__(self, metric: str, file: Path) -> None:
        """Remember the arguments."""
        super().__init__(metric)
        self.file = file

    def report(self, trainer: Any) -> None:
        """Append a line."""
        if is_first_process():
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
            line = json.dumps({"step": self.step, "metrics": metrics, "is_last": training_is_over(trainer)})
            with self.file.open("a") as file:
                file.write(f"{line}\n")


def asked_for(run_dir: Path) -> list[pl.Callback]:
    """Return the callback that reports to the sweep, if a sweep has started this process."""
    metric = os.environ.get(REPORTED)
    return [FileReporter(metric, run_dir / REPORTS_FILE)] if metric else []


def read_reports(run_dir: Path) -> list[dict[str, Any]]:
    """Return the reports that a run in separate processes has made so far."""
    file = run_dir / REPORTS_FILE
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]  # the last one may be half written
