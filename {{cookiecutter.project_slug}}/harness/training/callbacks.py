"""The callbacks that the program's flags ask for."""

import re
from argparse import Namespace
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    Checkpoint,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    WeightAveraging,
)
from pytorch_lightning.utilities import grad_norm
from torch import Tensor
from torch.optim import Optimizer

from harness.cli.run_flags import monitored, of_validation
from harness.errors import RunError, Stopped, UsageError
from harness.lightning_2_6.loops import RunCallback
from harness.runs import signals
from harness.runs.run import BEST, CHECKPOINTS, LAST
from harness.trainer_args import notice
from harness.training.progress import Summary


def build_callbacks(args: Namespace, run_dir: Path, model: pl.LightningModule, lack: str) -> list[pl.Callback]:
    """Return what the flags ask for, beside Trainer's own.

    Args:
        args: all flags.
        run_dir: where everything the run writes goes.
        model: what is trained.
        lack: why there is no validation, as in "data/mine.py has no val_dataloader"; nothing where there is one.

    Raises:
        UsageError: a flag needs ``--monitor``.
    """
    monitor, mode = monitored(args, model)
    callbacks: list[pl.Callback] = []
    if args.enable_checkpointing is not False and not args.barebones:
        callbacks += checkpoints(args, run_dir / CHECKPOINTS, monitor, mode)
    callbacks.append(StopOnSignal(next((each for each in callbacks if isinstance(each, Last)), None)))
    if args.terminate_on_nan:
        callbacks.append(TerminateOnNaN())
    if lack:
        callbacks.append(WithoutValidation(lack))
    if args.early_stopping_patience is not None:
        if monitor is None:
            raise UsageError(f"--early_stopping_patience needs --monitor METRIC: model {args.model_name} names none")
        patience, min_delta = args.early_stopping_patience, args.early_stopping_min_delta
        callbacks.append(EarlyStopping(monitor, mode=mode, patience=patience, min_delta=min_delta))
    if args.accumulate_grad_schedule is not None:
        pairs = [pair.split(":") for pair in args.accumulate_grad_schedule.split(",")]
        callbacks.append(GradientAccumulationScheduler({int(epoch): int(batches) for epoch, batches in pairs}))
    if args.ema_decay is not None:
        callbacks.append(AveragedWeights(decay=args.ema_decay))
    if args.lr_monitor is not None:
        callbacks.append(LearningRateMonitor(args.lr_monitor))
    if args.track_grad_norm is not None:
        callbacks.append(GradNorm(args.track_grad_norm))
    if args.enable_model_summary is not False and not args.barebones:
        callbacks.append(Summary(args.model_summary_depth))
    return callbacks


def checkpoints(args: Namespace, folder: Path, monitor: str | None, mode: str) -> Iterator[pl.Callback]:
    """Yield what writes ``best.ckpt``, more of the best where asked for, and ``last.ckpt``."""
    weights_only = args.save_weights_only
    common = {"dirpath": folder, "enable_version_counter": False, "save_weights_only": weights_only}
    if monitor is not None and args.save_top_k != 0:
        yield Best(filename=Path(BEST).stem, monitor=monitor, mode=mode, **common)
        if args.save_top_k != 1:
            name, k = "epoch={epoch:03}-step={step}", args.save_top_k
            yield TopK(filename=name, monitor=monitor, mode=mode, save_top_k=k, auto_insert_metric_name=False, **common)
    yield Last(folder / LAST, args.save_every_n_train_steps, save_weights_only=weights_only)


class Best(ModelCheckpoint):
    """Writes ``best.ckpt``; of a run whose directory was moved, it finds the files where they are now."""

    names = re.escape(BEST)  # of the files that it writes
    on_train_batch_end = pl.Callback.on_train_batch_end  # it writes after epochs

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        require_finite_weights(trainer)
        super()._save_checkpoint(trainer, filepath)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what was best so far; if the files are not here, the run begins to compare anew."""
        folder = Path(self.dirpath or "")

        def here(path: str) -> str:
            name = Path(path).name  # whatever else a stranger wrote there
            return str(folder / name) if re.fullmatch(self.names, name) else ""

        moved = {name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path")}
        kept = {here(path): score for path, score in state_dict["best_k_models"].items() if here(path)}
        if folder.exists() and (self.save_top_k != 1 or Path(moved["best_model_path"]).is_file()):
            own = {**state_dict, **moved, "last_model_path": "", "best_k_models": kept, "dirpath": self.dirpath}
            super().load_state_dict(own)


class TopK(Best):
    """Keeps several; a class of its own because Lightning tells callbacks of one class apart by their monitor."""

    names = r"epoch=\d+-step=\d+\.ckpt"


class Last(Checkpoint, RunCallback):
    """Writes ``last.ckpt`` after every epoch, after every so many steps, and before a signal ends the run.

    Args:
        path: the file.
        every_n_train_steps: write it after so many optimiser steps, too.
        save_weights_only: leave out what fit needs to go on.
    """

    def __init__(self, path: Path, every_n_train_steps: int | None, *, save_weights_only: bool) -> None:
        """Remember the arguments."""
        self.path, self.every_n_train_steps, self.save_weights_only = path, every_n_train_steps, save_weights_only
        self.step = 0  # of the last file

    def on_boundary(self, trainer: pl.Trainer, epoch_is_over: bool) -> None:
        """Write the file if it is time."""
        step, every = trainer.global_step, self.every_n_train_steps
        if epoch_is_over or (every and step % every == 0 and step != self.step and not in_mid_step(trainer)):
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write the file."""
        require_finite_weights(trainer)
        trainer.save_checkpoint(self.path, self.save_weights_only)
        self.step = trainer.global_step


def in_mid_step(trainer: pl.Trainer) -> bool:
    """Return whether gradients of several batches are being summed: no checkpoint has these."""
    return trainer.fit_loop._should_accumulate()


class StopOnSignal(RunCallback):
    """Ends the run at the end of a batch, in training or validation, after a signal has arrived in any process.

    Args:
        last: writes the checkpoint; None: there is none.
    """

    def __init__(self, last: Last | None) -> None:
        """Remember the argument."""
        self.last = last

    def on_boundary(self, trainer: Any, epoch_is_over: bool) -> None:
        """Save and stop, unless in the middle of a step.

        Raises:
            Stopped: a signal has arrived.
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
        """Save and stop; not while averaged weights stand in the place of those that train."""
        averaged = any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)
        if trainer.state.fn == "fit" and not trainer.sanity_checking and not averaged:
            self.on_boundary(trainer, False)


class AveragedWeights(EMAWeightAveraging):
    """Keeps a running average of the weights, to validate and test with; Lightning's own only validates with it."""

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the average in the place of the weights that train."""
        self.on_validation_epoch_start(trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put them back."""
        self.on_validation_epoch_end(trainer, pl_module)


class TerminateOnNaN(pl.Callback):
    """Ends the run before a loss that is not finite reaches the weights."""

    def on_before_backward(self, trainer: Any, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Look at the loss.

        Raises:
            RunError: it is not finite, in any process.
        """
        finite = isfinite(loss.item()) if loss.numel() == 1 else bool(loss.isfinite().all())
        if trainer.world_size > 1:
            finite = trainer.strategy.reduce_boolean_decision(finite)
        if not finite:
            raise not_finite("the loss is", trainer)


def require_finite_weights(trainer: Any) -> None:
    """Raise RunError if weights are not finite, and the run is to be ended then: no checkpoint is to hold them."""
    if not any(isinstance(callback, TerminateOnNaN) for callback in trainer.callbacks):
        return
    finite = all(bool(parameter.isfinite().all()) for parameter in trainer.lightning_module.parameters())
    if trainer.world_size > 1:
        finite = trainer.strategy.reduce_boolean_decision(finite)
    if not finite:
        raise not_finite("weights are", trainer)


def not_finite(what: str, trainer: Any) -> RunError:
    """Return the error that says what is not finite, where in the run, and what may help."""
    step, epoch, batch = trainer.global_step, trainer.current_epoch, trainer.fit_loop.batch_idx
    return RunError(
        f"{what} not finite at step {step} (epoch {epoch}, batch {batch}); checkpoints are as they were. Try a lower "
        "--learning_rate, --gradient_clip_val 1 or --detect_anomaly; --terminate_on_nan no goes on in spite of it"
    )


class WithoutValidation(pl.Callback):
    """Says before training begins what monitors a metric of a validation that there is not.

    Args:
        lack: why there is none.
    """

    def __init__(self, lack: str) -> None:
        """Remember the reason."""
        self.lack = lack

    def on_train_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Look at what monitors something.

        Raises:
            UsageError: early stopping or a learning rate schedule would fail at the end of the first epoch.
        """
        stopping = [(each.monitor, "early stopping") for each in trainer.callbacks if isinstance(each, EarlyStopping)]
        schedules = [
            (config.monitor, "the learning rate schedule")
            for config in trainer.lr_scheduler_configs
            if config.reduce_on_plateau and config.strict
        ]
        for monitor, what in stopping + schedules:
            if of_validation(monitor):
                raise UsageError(f"{what} monitors {monitor}, but {self.lack}: monitor another metric, or change that")
        for each in trainer.callbacks:
            if isinstance(each, Best) and of_validation(each.monitor):
                notice(f"{BEST} is not written: it goes by {each.monitor}, and {self.lack}; --monitor takes another")
                return


class GradNorm(pl.Callback):
    """Logs the norm of all gradients as ``grad_norm``, before they are clipped.

    Args:
        norm_type: the P of the P-norm; inf for the largest gradient.
    """

    def __init__(self, norm_type: float) -> None:
        """Remember the norm."""
        self.norm_type = norm_type

    def on_before_optimizer_step(self, trainer: Any, pl_module: pl.LightningModule, optimizer: Optimizer) -> None:
        """Log the norm, where it is read."""
        if not trainer.fit_loop.epoch_loop.is_read:
            return
        norms = grad_norm(pl_module, self.norm_type)
        pl_module.log("grad_norm", norms[f"grad_{self.norm_type}_norm_total"])
