"""The callbacks and loggers that the program's flags ask for."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
)
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import grad_norm
from torch.optim import Optimizer

from args import UsageError


def build_callbacks(args: Namespace, run_dir: Path, model: pl.LightningModule) -> list[pl.Callback]:
    """Return what the flags ask for, beside Trainer's own.

    Raises:
        UsageError: a flag needs ``--monitor``.
    """
    monitor = args.monitor or getattr(model, "monitor", None)
    mode = args.monitor_mode or getattr(model, "monitor_mode", "min")
    callbacks: list[pl.Callback] = []
    if args.enable_checkpointing is not False and not args.barebones:
        callbacks += checkpoints(args, run_dir / "checkpoints", monitor, mode)
    if args.early_stopping_patience is not None:
        if monitor is None:
            raise UsageError(f"--early_stopping_patience needs --monitor METRIC: model {args.model_name} names none")
        patience, min_delta = args.early_stopping_patience, args.early_stopping_min_delta
        callbacks.append(EarlyStopping(monitor, mode=mode, patience=patience, min_delta=min_delta))
    if args.accumulate_grad_schedule is not None:
        pairs = [pair.split(":") for pair in args.accumulate_grad_schedule.split(",")]
        callbacks.append(GradientAccumulationScheduler({int(epoch): int(batches) for epoch, batches in pairs}))
    if args.ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=args.ema_decay))
    if args.lr_monitor is not None:
        callbacks.append(LearningRateMonitor(args.lr_monitor))
    if args.track_grad_norm is not None:
        callbacks.append(GradNorm(args.track_grad_norm))
    if args.model_summary_depth != 1 and args.enable_model_summary is not False:
        callbacks.append(ModelSummary(args.model_summary_depth))
    return callbacks


def checkpoints(args: Namespace, folder: Path, monitor: str | None, mode: str) -> Iterator[pl.Callback]:
    """Yield what writes ``best.ckpt``, more of the best where asked for, and ``last.ckpt``, every epoch."""
    weights_only = args.save_weights_only
    common = {"dirpath": folder, "enable_version_counter": False, "save_weights_only": weights_only}
    if monitor is not None and args.save_top_k != 0:
        yield ModelCheckpoint(filename="best", monitor=monitor, mode=mode, **common)
        if args.save_top_k != 1:
            name, k = "epoch={epoch:03}-step={step}", args.save_top_k
            yield TopK(filename=name, monitor=monitor, mode=mode, save_top_k=k, auto_insert_metric_name=False, **common)
    yield ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **common)
    if args.save_every_n_train_steps is not None:
        yield ModelCheckpoint(filename="last", every_n_train_steps=args.save_every_n_train_steps, **common)


class TopK(ModelCheckpoint):
    """Keeps several; a class of its own because Lightning tells callbacks of one class apart by their monitor."""


class GradNorm(pl.Callback):
    """Logs the norm of all gradients as ``grad_norm``, before they are clipped.

    Args:
        norm_type: the P of the P-norm; inf for the largest gradient.
    """

    def __init__(self, norm_type: float) -> None:
        """Remember the norm."""
        self.norm_type = norm_type

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Log the norm."""
        norms = grad_norm(pl_module, self.norm_type)
        pl_module.log("grad_norm", norms[f"grad_{self.norm_type}_norm_total"])


def build_loggers(names: str | bool | None, run_dir: Path) -> list[Logger]:
    """Return the loggers of ``--logger``; they write into ``run_dir`` itself.

    Raises:
        UsageError: the package of a logger is not installed.
    """
    build: dict[str, Callable[[], Logger]] = {
        "csv": lambda: CSVLogger(run_dir, name="", version=""),
        "tensorboard": lambda: TensorBoardLogger(run_dir, name="", version=""),
        "wandb": lambda: WandbLogger(save_dir=run_dir, name=run_dir.name),
    }
    chosen = names.split(",") if isinstance(names, str) else ["csv"] if names else []
    try:
        return [build[name]() for name in dict.fromkeys(chosen)]
    except ModuleNotFoundError as error:
        raise UsageError(f"--logger {names}: {error}") from error
