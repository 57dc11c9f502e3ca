"""The loggers of a run, and the one of metrics.csv; each continues when the run resumes."""

import csv
from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.core.saving import save_hparams_to_yaml
from pytorch_lightning.loggers import Logger

from harness.cli.run_flags import monitored
from harness.errors import UsageError
from harness.files import whole_file
from harness.runs.processes import is_first_process
from harness.runs.run import Run
from harness.training.trackers.labels import Labels, Tracker

EXTRAS = {"tensorboard": "loggers", "wandb": "loggers"}  # of pyproject.toml; others have the name of the logger
TRACKERS = {  # files of trackers/, and their classes
    "tensorboard": "RunTensorBoardLogger",
    "wandb": "RunWandbLogger",
    "mlflow": "RunMLFlowLogger",
    "trackio": "RunTrackioLogger",
    "comet": "RunCometLogger",
}
RESUME_KEY = "resume"  # state that the harness adds to a checkpoint; its "logs" are the positions of loggers


def build_loggers(args: Namespace, run: Run, model: Any) -> list[Logger]:
    """Return the loggers of ``--logger``; none yet for a run that resumes, whose loggers the callback BeginRun adds.

    Raises:
        UsageError: If the package of a logger is not installed.
    """
    labels = Labels.of(run, monitored(args, model)[0])
    chosen = args.logger.split(",") if isinstance(args.logger, str) else ["csv"] if args.logger else []
    positions = run.checkpoint.get(RESUME_KEY, {}).get("logs") if run.resumes else None
    positions = positions if isinstance(positions, Mapping) else {}
    loggers: list[Logger] = []
    for name in dict.fromkeys(chosen):
        try:
            logger_class = find_logger(name)
            loggers.append(logger_class(labels, positions.get(logger_class.__name__)))
        except ModuleNotFoundError as error:
            # Lightning names no module, but a remedy of its own; Python names one that the package itself lacks.
            reason = str(error) if error.name not in (None, name, f"{name}_ml") else f"{name} is not installed"
            raise UsageError(
                f'--logger {args.logger}: {reason}: pip install -e ".[{EXTRAS.get(name, name)}]"'
            ) from error
    for logger in loggers:
        if isinstance(logger, Tracker):
            run.at_end(partial(logger.close, run))
    if run.resumes:  # they change files: not before the checkpoint is found to fit
        run.loggers = loggers
        return []
    return loggers


def find_logger(name: str) -> Any:
    """Return the class of a logger."""
    if name == "csv":
        return RunCSVLogger
    return getattr(import_module(f"harness.training.trackers.{name}"), TRACKERS[name])


class NumbersAlone:
    """The experiment of a logger that writes numbers alone."""

    def __getattr__(self, name: str) -> Any:
        """Raise an error with the remedy for ``logger.experiment.add_image`` and such."""
        raise AttributeError(f"the csv logger has no experiment.{name}: run with --logger tensorboard,csv")


class RunCSVLogger(Logger):
    """Writes metrics.csv and hparams.yaml.

    Args:
        labels: of the run.
        rows: rows to keep of an earlier part of the run; None: all.
    """

    flush_every = 100  # steps
    experiment = NumbersAlone()

    def __init__(self, labels: Labels, rows: int | None) -> None:
        super().__init__()
        self.run_dir, self.rows_to_keep = labels.dir, rows
        self.path = Path(self.run_dir, "metrics.csv")
        self.columns: list[str] = []
        self.new_rows: list[dict[str, Any]] = []
        self.rows = 0  # in the file
        self.is_open = False
        self.hparams: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The name of the logger, which is no part of its directory."""
        return ""

    @property
    def version(self) -> str:
        """The version of the logger, which is no part of its directory."""
        return ""

    @property
    def save_dir(self) -> str:
        """The directory of the run."""
        return str(self.run_dir)

    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Write the hyperparameters."""
        self.hparams |= params if isinstance(params, Mapping) else vars(params)
        if is_first_process():
            self.run_dir.mkdir(parents=True, exist_ok=True)
            save_hparams_to_yaml(self.run_dir / "hparams.yaml", self.hparams)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a row; it is written with the next 100."""
        if not is_first_process():
            return
        values = {name: value.item() if isinstance(value, torch.Tensor) else value for name, value in metrics.items()}
        self.new_rows.append({**values, "step": len(self.new_rows) if step is None else step})
        if step is not None and (step + 1) % self.flush_every == 0:
            self.save()

    def save(self) -> None:
        """Write the new rows; while a column is added, the file is never missing."""
        if not is_first_process() or not (self.new_rows or self.is_open):
            return
        if not self.is_open:
            self._open()
        columns = sorted({*self.columns, *(name for row in self.new_rows for name in row)})
        if columns != self.columns:
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            self.columns = columns
            self._write(rows)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, fieldnames=self.columns).writerows(self.new_rows)
        self.rows += len(self.new_rows)
        self.new_rows = []

    def finalize(self, status: str) -> None:
        """Write the new rows."""
        self.save()

    def position(self) -> int:
        """Return the number of rows, for a checkpoint."""
        self.save()
        return self.rows

    def _open(self) -> None:
        """Keep the first rows of a file that exists."""
        self.is_open = True
        rows: list[dict[str, Any]] = []
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
                reader = csv.DictReader(line.replace("\0", "") for line in file)  # which Python 3.10 refuses
                number = self.rows_to_keep
                rows = list(islice(reader, number if isinstance(number, int) and number >= 0 else None))
                self.columns = list(reader.fieldnames or [])
        self.rows = len(rows)
        self._write(rows)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with whole_file(self.path) as file:
            text = TextIOWrapper(file, newline="", encoding="utf-8", write_through=True)
            writer = csv.DictWriter(text, fieldnames=self.columns)
            writer.writeheader()
            writer.writerows(rows)
            text.detach()
