"""Hooks between batches, for callbacks that save, stop or report there."""

from contextlib import ExitStack, suppress
from typing import Any

import pytorch_lightning as pl

from harness.errors import Stopped
from harness.runs import signals


class BoundaryCallback(pl.Callback):
    """A callback with hooks that Lightning does not have.

    The loops of ``harness.lightning_2_6`` call them; with Lightning's own loops ``PublicBoundaries`` does.

    Attributes:
        ends: whether a hook may end the run: those of other callbacks come first, and lose nothing.
    """

    ends = False

    def on_restored(self, trainer: pl.Trainer) -> None:
        """Called when all is restored from a checkpoint, if there is one, and no batch has run."""

    def on_epoch_resumed(self, trainer: pl.Trainer) -> None:
        """Called when an epoch resumes in its middle, after the hooks for the start of an epoch."""

    def on_boundary(self, trainer: pl.Trainer, epoch_is_over: bool) -> None:
        """Called after each batch and after each epoch, when everything of it is done, validation included."""


def call_hook(trainer: Any, name: str, *args: Any) -> None:
    """Call a hook of the boundary callbacks."""
    for ends in (False, True):
        for callback in trainer.callbacks:
            if isinstance(callback, BoundaryCallback) and callback.ends is ends:
                getattr(callback, name)(trainer, *args)


class PublicBoundaries(pl.Callback):
    """Calls the hooks of boundary callbacks from Lightning's own hooks; signals wait for the end of a batch."""

    def __init__(self) -> None:
        self.waiting = ExitStack()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Call on_restored."""
        signals.take()  # at SIGTERM Lightning's handler ends the run with status 0, and saves nothing
        self.waiting.enter_context(signals.waiting())
        call_hook(trainer, "on_restored")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let signals wait no longer."""
        self.waiting.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Let signals wait no longer."""
        with suppress(Stopped):
            self.waiting.close()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Call on_boundary, before a validation that follows the batch."""
        call_hook(trainer, "on_boundary", False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Call on_boundary, after the validation at the end of an epoch."""
        call_hook(trainer, "on_boundary", True)


def in_mid_step(trainer: Any) -> bool:
    """Return whether gradients of several batches are being summed: no checkpoint has these."""
    done, every = trainer.fit_loop.batch_idx + 1, trainer.accumulate_grad_batches
    return done % every != 0 and done < trainer.num_training_batches and not trainer.is_last_batch
