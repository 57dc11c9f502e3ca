"""Reports of a run to its sweep: the metrics after each validation, and whether training continues."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from harness.cli.run_flags import of_validation
from harness.runs.processes import is_first_process
from harness.runs.run import REPORTS_FILE
from harness.training.boundaries import BoundaryCallback


@dataclass
class Report:
    """The state of a run after a validation, or after an epoch.

    Args:
        step: number of reports so far.
        epoch: number of epochs begun.
        max_epochs: limit of epochs, or -1.
        metrics: the last value of each metric.
        is_last: whether training ends here.
    """

    step: int
    epoch: int
    max_epochs: int
    metrics: dict[str, float]
    is_last: bool

    def text(self, metric: str) -> str:
        """Return the report for the terminal, such as "epoch 3/20 val_loss 0.31"."""
        limit = f"/{self.max_epochs}" if self.max_epochs > 0 else ""
        return f"epoch {self.epoch}{limit} {metric} {self.metrics[metric]:.4g}"


class Reporter(BoundaryCallback):
    """Reports a metric after each validation, or after each epoch if it is not a metric of validation.

    A validation at the end of an epoch is reported when the epoch has ended, after early stopping has decided.

    Args:
        metric: its name.
        send: takes each report.
    """

    def __init__(self, metric: str, send: Callable[[Report], None]) -> None:
        self.metric, self.send = metric, send
        self.step = 0  # of the last report: the number of reports so far
        self.has_validated = False  # since the last report

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the reports, for the checkpoint."""
        return {"step": self.step, "has_validated": self.has_validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position of the reports."""
        self.step, self.has_validated = state_dict["step"], state_dict["has_validated"]

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
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
            epoch, limit = trainer.fit_loop.epoch_progress.current.ready, trainer.max_epochs or -1
            self.send(Report(self.step, epoch, limit, metrics, training_is_over(trainer, epoch_is_over)))


def is_at_epoch_end(trainer: Any) -> bool:
    """Return whether the last batch of the epoch is done."""
    number = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return bool(trainer.is_last_batch or number == trainer.num_training_batches)


def training_is_over(trainer: Any, epoch_is_over: bool) -> bool:
    """Return whether no batch of training follows: a limit is reached, or the run stops early."""
    loop, steps = trainer.fit_loop, trainer.global_step
    epochs = loop.epoch_progress.current.ready - (not epoch_is_over)
    if loop.max_epochs not in (-1, None) and epochs >= loop.max_epochs:
        return True
    if loop.max_steps != -1 and steps >= loop.max_steps:
        return True
    return trainer.should_stop and epochs >= (loop.min_epochs or 0) and steps >= (loop.min_steps or 0)


def write_report(run_dir: Path, report: Report) -> None:
    """Append a report to the file that the parent process reads: a line of JSON."""
    if is_first_process():
        with (run_dir / REPORTS_FILE).open("a") as file:
            file.write(f"{json.dumps(asdict(report))}\n")


def read_reports(run_dir: Path) -> list[Report]:
    """Return the reports that a run in separate processes has made so far."""
    file = run_dir / REPORTS_FILE
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [Report(**json.loads(line)) for line in lines if line.endswith("\n")]  # the last one may be half written
