"""Trackio."""

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import Logger

from harness.errors import RunError
from harness.runs.processes import is_first_process
from harness.runs.run import Run
from harness.training.trackers.labels import Labels, Tracker


class RunTrackioLogger(Logger, Tracker):
    """Logs to Trackio, whose dashboard ``trackio show`` needs no account.

    Args:
        labels: of the run.
        run_name: name at Trackio of a run that resumes.

    Raises:
        ModuleNotFoundError: If trackio is not installed.
        RunError: If its folder cannot be written.
    """

    def __init__(self, labels: Labels, run_name: str | None) -> None:
        super().__init__()
        import trackio
        from trackio.utils import TRACKIO_DIR

        if is_first_process():
            require_folder(Path(TRACKIO_DIR))
        self.trackio = trackio
        self.labels = labels
        self.resume = "never" if run_name is None else "allow"
        self.run_name = run_name or "/".join(filter(None, [labels.group, labels.name]))  # a run is found by its name
        self.hparams: dict[str, Any] = {}
        self.run: Any = None

    @property
    def name(self) -> str:
        """The name of the project."""
        return self.labels.project

    @property
    def version(self) -> str:
        """The name of the run."""
        return self.run_name

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run at Trackio, begun when it is first asked for."""
        if self.run is None:
            with redirect_stdout(sys.stderr):  # standard output has the results of the run
                self.run = self.trackio.init(
                    project=self.labels.project,
                    name=self.run_name,
                    group=self.labels.group,
                    config={**self.hparams, **self.labels.texts},
                    resume=self.resume,
                    embed=False,
                )
        return self.run

    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Keep the hyperparameters; Trackio stores them with the first metrics."""
        self.hparams |= params if isinstance(params, Mapping) else vars(params)
        if self.run is not None:
            self.run.config.update(self.hparams)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics; Trackio keeps one more value of each step that a killed run logs again."""
        self.experiment.log(dict(metrics), step=step)

    def close(self, run: Run) -> None:
        """End the run at Trackio."""
        if self.run is not None:
            with redirect_stdout(sys.stderr):
                self.trackio.finish()

    def position(self) -> str:
        """Return the name of the run, for a checkpoint."""
        return self.run_name


def require_folder(folder: Path) -> None:
    """Make the folder of Trackio, which would lose all values with a warning after training.

    Raises:
        RunError: If the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} cannot be written")
    except OSError as error:
        raise RunError(f"--logger trackio: {error} (TRACKIO_DIR names another folder)") from error
