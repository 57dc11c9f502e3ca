"""TensorBoard."""

from collections.abc import Mapping
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import TensorBoardLogger

from harness.training.trackers.labels import Labels


class RunTensorBoardLogger(TensorBoardLogger):
    """Writes events for TensorBoard; its HParams tab compares the monitored metric.

    Args:
        labels: of the run.
        step: first step to log again, of a run that resumes: later events of its earlier part are purged.
    """

    def __init__(self, labels: Labels, step: int | None) -> None:
        purge: dict[str, Any] = {} if not isinstance(step, int) else {"purge_step": step}
        super().__init__(labels.dir, name="", version="", default_hp_metric=False, **purge)
        self.labels = labels
        self.has_hyperparams = bool(purge)
        self.step = 0 if not isinstance(step, int) else step

    @rank_zero_only
    def log_hyperparams(self, params: Any, metrics: Any = None, step: int | None = None) -> None:
        """Log the hyperparameters, once for a run, with the name of the metric whose last value belongs to them."""
        super().log_hyperparams(params, metrics, step)
        if metrics is not None or self.has_hyperparams or not self.hparams:
            return
        self.has_hyperparams = True
        from torch.utils.tensorboard.summary import hparams

        plain = {
            name: value if isinstance(value, bool | int | float) else str(value) for name, value in self.hparams.items()
        }
        monitored = {self.labels.monitor: 0.0} if self.labels.monitor else {}
        for summary in hparams(plain, monitored):  # type: ignore[no-untyped-call]
            self.experiment.file_writer.add_summary(summary)
        for title, text in self.labels.texts.items():
            self.experiment.add_text(title, text)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics."""
        super().log_metrics(metrics, step)
        self.step = max(self.step, (step or 0) + 1)

    def position(self) -> int:
        """Return the first step that is not logged yet, for a checkpoint."""
        return self.step
