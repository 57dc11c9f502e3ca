"""Weights & Biases."""

import os
from collections.abc import Mapping
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import WandbLogger

from harness.errors import RunError
from harness.runs.processes import is_first_process
from harness.runs.run import Run
from harness.training.trackers.labels import Labels, Tracker


class RunWandbLogger(WandbLogger, Tracker):
    """Logs to Weights & Biases.

    Args:
        labels: of the run; ``WANDB_PROJECT`` and ``WANDB_RUN_GROUP`` win over them.
        run_id: id at W&B of a run that resumes.
    """

    def __init__(self, labels: Labels, run_id: str | None) -> None:
        shown: dict[str, Any] = {"tags": labels.tags or None, "notes": labels.notes}
        shown["group"] = os.environ.get("WANDB_RUN_GROUP") or labels.group
        project = os.environ.get("WANDB_PROJECT") or labels.project
        super().__init__(save_dir=labels.dir, name=labels.name, project=project, id=run_id, resume="allow", **shown)
        import wandb

        self.is_shared = wandb.run is not None  # begun by the user's own code, whose run Lightning takes

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run at W&B, begun when it is first asked for.

        Raises:
            RunError: If W&B has no key, or cannot be reached.
        """
        import wandb

        try:
            return super().experiment
        except wandb.Error as error:
            raise RunError(f"--logger wandb: {error} (or set WANDB_MODE=offline)") from error

    def close(self, run: Run) -> None:
        """End the run at W&B."""
        import wandb

        if not self.is_shared and is_first_process():
            wandb.finish(exit_code=int(run.failed))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics under their step, but for steps that W&B had before the run resumed."""
        if step is None or not is_first_process():
            super().log_metrics(metrics, step)
        elif step >= self.experiment.starting_step:
            # Its own count is ahead where a model has logged something itself; earlier steps would be dropped.
            self.experiment.log({**metrics, "trainer/global_step": step}, step=max(step, self.experiment.step))

    def position(self) -> str | None:
        """Return the id, for a checkpoint."""
        return self.experiment.id if is_first_process() else None
