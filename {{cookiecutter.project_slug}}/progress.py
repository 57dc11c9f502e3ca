"""The progress bar."""

import sys
from time import monotonic
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar

INTERVAL = 0.2  # seconds between two drawings: one takes as long as several steps of a small net


class Progress(TQDMProgressBar):
    """Lightning's bar, drawn a few times a second; where there is no terminal, a line for each epoch."""

    def __init__(self) -> None:
        """Look where the output goes."""
        super().__init__()
        self.on_terminal = sys.stdout.isatty()
        self.due = 0.0

    @property
    def is_enabled(self) -> bool:
        """Return whether there are bars."""
        return self.on_terminal and super().is_enabled

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show what the epoch came to."""
        super().on_train_epoch_end(trainer, pl_module)
        if not self.on_terminal and trainer.is_global_zero:
            metrics = self.get_metrics(trainer, pl_module)
            told = [f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float)]
            print(f"epoch {trainer.current_epoch}:", ", ".join(told), flush=True)

    def _should_update(self, current: int, total: Any) -> bool:
        now = monotonic()
        if current != total and now < self.due:
            return False
        self.due = now + INTERVAL
        return self.is_enabled
