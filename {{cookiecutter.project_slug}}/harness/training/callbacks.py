"""The callbacks that the flags ask for."""

from argparse import Namespace
from contextlib import suppress
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateMonitor,
)
from pytorch_lightning.utilities import grad_norm
from torch.optim import Optimizer

from harness.cli.run_flags import keeps_best, monitored
from harness.errors import UsageError
from harness.runs.run import CHECKPOINTS, Run
from harness.trainer_args import notice
from harness.training.boundaries import BoundaryCallback, PublicBoundaries
from harness.training.checkpoints import Last, build_checkpoints
from harness.training.guards import StopOnSignal, TerminateOnNaN, WithoutValidation
from harness.training.initial_weights import InitialWeights
from harness.training.progress import Progress, Summary
from harness.training.steps import missing_step

SPLITTING = {"FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy"}  # a process has a part of the parameters


def build_callbacks(args: Namespace, run: Run, model: Any, data: Any) -> list[pl.Callback]:
    """Return the callbacks that the flags ask for, beside the Trainer's own.

    Args:
        args: all flags.
        run: the run.
        model: the model.
        data: its data module, or None.

    Raises:
        UsageError: If a flag needs ``--monitor``, or if the file of ``--init_from`` is refused.
    """
    # --progress_bar_refresh_rate, a flag of Lightning 1.x, brings a bar of its own.
    has_bar = args.enable_progress_bar is not False and args.progress_bar_refresh_rate is None and not args.barebones
    bar: list[pl.Callback] = [Progress()] if has_bar else []
    if args.command != "fit":
        return [BeginRun(run), *bar]
    monitor, mode = monitored(args, model)
    callbacks: list[pl.Callback] = [BeginRun(run)]
    if args.init_from is not None and run.ckpt_path is None:
        callbacks.append(InitialWeights(args.init_from, model, strict=args.init_from_strict))
    if args.enable_checkpointing is not False and not args.barebones:
        callbacks += build_checkpoints(args, run.dir / CHECKPOINTS, monitor, mode)
    callbacks.append(StopOnSignal(next((each for each in callbacks if isinstance(each, Last)), None)))
    if args.terminate_on_nan:
        callbacks.append(TerminateOnNaN())
    turned_off = "validation is turned off by --limit_val_batches 0" if args.limit_val_batches == 0 else ""
    if reason := turned_off or missing_step("validate", args, model, data):
        callbacks.append(WithoutValidation(reason))
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
    if keeps_best(args) and monitor is None:
        callbacks.append(WithoutBest())
    return [*callbacks, *bar, PublicBoundaries()]


class BeginRun(BoundaryCallback):
    """Writes config.yaml, and starts the loggers of a run that resumes, once everything is found to be right.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_restored(self, trainer: Any) -> None:
        """Begin a run of fit."""
        self.begin(trainer)
        if self.run.loggers:
            trainer.loggers = [*self.run.loggers, *trainer.loggers]
            data = getattr(trainer, "datamodule", None)
            hparams = {**(data.hparams if data is not None else {}), **trainer.lightning_module.hparams}
            for logger in self.run.loggers:
                logger.log_hyperparams(hparams)
                logger.save()

    def on_validation_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Begin a run of validate, or of export, which restores the model with it."""
        if trainer.state.fn == "validate" and self.run.args.command in ("validate", "export"):
            self.begin(trainer)

    def on_test_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Begin a run of test."""
        if self.run.args.command == "test":
            self.begin(trainer)

    def on_predict_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Begin a run of predict."""
        self.begin(trainer)

    def begin(self, trainer: Any) -> None:
        """Begin the run, and record what is known of its model."""
        model = trainer.lightning_module
        monitor, mode = monitored(self.run.args, model)
        self.run.begin(parameters=count_parameters(trainer, model), monitor=monitor, monitor_mode=mode)


def count_parameters(trainer: Any, model: pl.LightningModule) -> int | None:
    """Return the number of parameters; None where a strategy splits them, or a shape is still open."""
    if SPLITTING & {base.__name__ for base in type(trainer.strategy).__mro__}:
        return None
    with suppress(ValueError, RuntimeError):
        return sum(parameter.numel() for parameter in model.parameters())
    return None


class WithoutBest(pl.Callback):
    """Prints, at the end of training without a monitored metric, which metrics could select best.ckpt."""

    def on_train_end(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Print the notice."""
        from harness.cli.run_flags import without_best

        notice(f"no best.ckpt: {without_best(trainer.callback_metrics)}")


class AveragedWeights(EMAWeightAveraging):
    """EMAWeightAveraging that also tests with the average; Lightning's own only validates with it."""

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Swap the average in."""
        self.on_validation_epoch_start(trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Swap it out."""
        self.on_validation_epoch_end(trainer, pl_module)


class GradNorm(pl.Callback):
    """Logs the norm of all gradients as ``grad_norm``, before they are clipped.

    Args:
        norm_type: the P of the P-norm; inf for the largest gradient.
    """

    def __init__(self, norm_type: float) -> None:
        self.norm_type = norm_type

    def on_before_optimizer_step(self, trainer: Any, pl_module: pl.LightningModule, optimizer: Optimizer) -> None:
        """Log the norm, in the steps whose values are read."""
        if getattr(trainer.fit_loop.epoch_loop, "is_read", True):
            norms = grad_norm(pl_module, self.norm_type)
            pl_module.log("grad_norm", norms[f"grad_{self.norm_type}_norm_total"])
