"""Loggers that write into the directory of a run, and go on in it where a checkpoint was written."""

import csv
from collections.abc import Mapping
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from harness.errors import UsageError
from harness.runs.files import whole_file
from harness.runs.run import is_first_process


def build_loggers(names: str | bool | None, run_dir: Path, positions: Mapping[str, Any] | None = None) -> list[Logger]:
    """Return the loggers of ``--logger``; they write into ``run_dir`` itself.

    Args:
        names: csv, tensorboard and wandb, with commas between them; true stands for csv.
        run_dir: the directory of the run.
        positions: of a run that goes on: where each had got. What was logged later is taken away when they begin.

    Raises:
        UsageError: the package of a logger is not installed.
    """
    build = {"csv": RunCSVLogger, "tensorboard": RunTensorBoardLogger, "wandb": RunWandbLogger}
    chosen = names.split(",") if isinstance(names, str) else ["csv"] if names else []
    positions = positions if isinstance(positions, Mapping) else {}
    loggers: list[Logger] = []
    for name in dict.fromkeys(chosen):
        try:
            loggers.append(build[name](run_dir, positions.get(build[name].__name__)))
        except ModuleNotFoundError as error:
            # Lightning names no module, but a remedy of its own; Python names one that the package itself lacks.
            reason = str(error) if error.name not in (None, name) else f"{name} is not installed"
            raise UsageError(f'--logger {names}: {reason}: pip install -e ".[loggers]"') from error
    return loggers


class RunCSVLogger(CSVLogger):
    """Writes metrics.csv.

    Args:
        run_dir: the directory of the run.
        rows: of a run that goes on: how many to keep; None: all.
    """

    def __init__(self, run_dir: Path, rows: int | None) -> None:
        """Write into the directory itself."""
        super().__init__(run_dir, name="", version="")
        self._rows = rows

    @property
    def experiment(self) -> Any:
        """Return the writer of the file."""
        if self._experiment is None and is_first_process():
            self._experiment = Writer(self.log_dir, self._rows)
        return super().experiment

    def position(self) -> int:
        """Return the number of rows."""
        self.save()
        return self.experiment.rows if is_first_process() else 0


class Writer(ExperimentWriter):
    """Lightning's writer, which goes on in a file and is never without it while it adds a column.

    Args:
        log_dir: folder of the file.
        rows: how many to keep of those that are there; None: all.
    """

    def __init__(self, log_dir: str, rows: int | None) -> None:
        """Keep the first rows of the file."""
        super().__init__(log_dir)
        self.rows = 0
        if Path(self.metrics_file_path).is_file():
            with open(self.metrics_file_path, newline="", encoding="utf-8", errors="replace") as file:
                reader = csv.DictReader(line.replace("\0", "") for line in file)  # which Python 3.10 refuses
                kept = list(islice(reader, rows if isinstance(rows, int) and rows >= 0 else None))
                self.metrics_keys = list(reader.fieldnames or [])
            self.rows = len(kept)
            self._write(kept)

    def save(self) -> None:
        """Write the rows that are new."""
        self.rows += len(self.metrics)
        super().save()

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        with open(self.metrics_file_path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self._write(rows)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with whole_file(Path(self.metrics_file_path)) as file:
            text = TextIOWrapper(file, newline="", encoding="utf-8", write_through=True)
            writer = csv.DictWriter(text, fieldnames=self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
            text.detach()

    def _check_log_dir_exists(self) -> None:
        """Leave what is there: the directory belongs to this run."""


class RunTensorBoardLogger(TensorBoardLogger):
    """Writes events for TensorBoard.

    Args:
        run_dir: the directory of the run.
        sizes: of a run that goes on: bytes to keep of each of its files.
    """

    def __init__(self, run_dir: Path, sizes: Mapping[str, int] | None) -> None:
        """Write into the directory itself."""
        # A run that goes on has this first value already.
        super().__init__(run_dir, name="", version="", default_hp_metric=sizes is None)
        self._sizes = sizes

    @property
    def experiment(self) -> Any:
        """Return the writer of the events."""
        if self._experiment is None and isinstance(self._sizes, dict) and is_first_process():
            for path in Path(self.log_dir).glob("events.out.tfevents.*"):
                if path.name in self._sizes:
                    with path.open("rb+") as file:
                        file.truncate(min(self._sizes[path.name], path.stat().st_size))
                else:
                    path.unlink()
        return super().experiment

    def position(self) -> dict[str, int]:
        """Return the size of each file."""
        if not is_first_process():
            return {}
        self.experiment.flush()
        return {path.name: path.stat().st_size for path in Path(self.log_dir).glob("events.out.tfevents.*")}


class RunWandbLogger(WandbLogger):
    """Logs to Weights & Biases.

    Args:
        run_dir: the directory of the run.
        run_id: of a run that goes on: what W&B calls it.
    """

    def __init__(self, run_dir: Path, run_id: str | None) -> None:
        """Go on with the run of this id, if there is one."""
        super().__init__(save_dir=run_dir, name=run_dir.name, id=run_id, resume="allow")

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics under their step, but for steps that W&B had before the run went on."""
        if step is None or not is_first_process():
            super().log_metrics(metrics, step)
        elif step >= self.experiment.starting_step:
            # Its own count is ahead where a model has logged something itself; what is behind it would be lost.
            self.experiment.log({**metrics, "trainer/global_step": step}, step=max(step, self.experiment.step))

    def position(self) -> str | None:
        """Return the id."""
        return self.experiment.id if is_first_process() else None
