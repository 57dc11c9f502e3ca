"""The callbacks that end a run: after a signal, for a loss that is not finite, for a missing metric."""

import signal
from math import isfinite
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from torch import Tensor

from harness.cli.run_flags import of_validation
from harness.errors import RunError, Stopped, UsageError
from harness.runs import signals
from harness.runs.run import BEST
from harness.trainer_args import notice
from harness.training.boundaries import BoundaryCallback, in_mid_step


class StopOnSignal(BoundaryCallback):
    """Ends the run at the end of a batch of training or validation, after a signal in any process.

    Args:
        last: the callback that writes last.ckpt, or None.
    """

    ends = True

    def __init__(self, last: Any | None) -> None:
        self.last = last

    def on_boundary(self, trainer: Any, epoch_is_over: bool) -> None:
        """Save and stop, unless within a step.

        Raises:
            Stopped: If a process has received a signal.
        """
        signum = signals.received() or 0
        if trainer.world_size > 1:
            signum = int(
                trainer.strategy.reduce(torch.tensor(signum, device=trainer.strategy.root_device), reduce_op="max")
            )
        if not signum or (in_mid_step(trainer) and not epoch_is_over):
            return
        if self.last is not None:
            self.last.save(trainer)
        saved = None if self.last is None or self.last.save_weights_only else str(self.last.path)
        raise Stopped(signum, saved, together=True)

    def on_validation_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """Save and stop, unless averaged weights replace the trained ones."""
        averaged = any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)
        if trainer.state.fn == "fit" and not trainer.sanity_checking and not averaged:
            self.on_boundary(trainer, False)

    def on_exception(self, trainer: Any, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """End the processes that Lightning has started, if a signal ends this process alone."""
        kill = getattr(trainer.strategy.launcher, "kill", None)
        if isinstance(exception, Stopped) and not exception.together and kill is not None:
            kill(getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has no SIGKILL


class TerminateOnNaN(pl.Callback):
    """Ends the run before a loss that is not finite reaches the weights."""

    def on_before_backward(self, trainer: Any, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Check the loss.

        Raises:
            RunError: If the loss is not finite in a process.
        """
        finite = isfinite(loss.item()) if loss.numel() == 1 else bool(loss.isfinite().all())
        if trainer.world_size > 1:
            finite = trainer.strategy.reduce_boolean_decision(finite)
        if not finite:
            raise not_finite("the loss is", trainer)


def require_finite_weights(trainer: Any) -> None:
    """Raise RunError if weights are not finite, unless ``--terminate_on_nan`` is off; no checkpoint stores them."""
    if not any(isinstance(callback, TerminateOnNaN) for callback in trainer.callbacks):
        return
    finite = all(bool(parameter.isfinite().all()) for parameter in trainer.lightning_module.parameters())
    if trainer.world_size > 1:
        finite = trainer.strategy.reduce_boolean_decision(finite)
    if not finite:
        raise not_finite("weights are", trainer)


def not_finite(what: str, trainer: Any) -> RunError:
    """Return the error for a value that is not finite, with its place in the run and remedies."""
    step, epoch, batch = trainer.global_step, trainer.current_epoch, trainer.fit_loop.batch_idx
    return RunError(
        f"{what} not finite at step {step} (epoch {epoch}, batch {batch}); checkpoints are as they were. Try a lower "
        "--learning_rate, --gradient_clip_val 1 or --detect_anomaly; --terminate_on_nan no continues in spite of it"
    )


class WithoutValidation(pl.Callback):
    """Fails before training if a validation metric is monitored but there is no validation.

    Args:
        reason: reason for its absence, such as "data/mine.py has no val_dataloader".
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def on_train_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Check the metrics of callbacks and schedules.

        Raises:
            UsageError: If early stopping or a learning rate schedule would fail at the end of the first epoch.
        """
        stopping = [(each.monitor, "early stopping") for each in trainer.callbacks if isinstance(each, EarlyStopping)]
        schedules = [
            (config.monitor, "the learning rate schedule")
            for config in trainer.lr_scheduler_configs
            if config.reduce_on_plateau and config.strict
        ]
        for monitor, what in stopping + schedules:
            if of_validation(monitor):
                raise UsageError(
                    f"{what} monitors {monitor}, but {self.reason}: monitor another metric, or change that"
                )
        for each in trainer.callbacks:
            if isinstance(each, ModelCheckpoint) and of_validation(each.monitor):
                notice(f"{BEST} is not written: it monitors {each.monitor}, and {self.reason}; --monitor takes another")
                return
