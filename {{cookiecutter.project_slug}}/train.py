"""One training run in a directory of its own: seed, data, model, Trainer, metrics."""

import logging
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from traceback import walk_tb
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.model_helpers import is_overridden

from args import UsageError
from modules import brings_data, load, own_args
from trainer_args import from_argparse_args

MAX_EPOCHS = 20  # Lightning's own default is 1,000
LOG_EVERY_N_STEPS = 10


def train(args: Namespace, run_dir: Path, callbacks: Sequence[pl.Callback] = ()) -> dict[str, float]:
    """Fit the model, then validate and test the weights of its best epoch, where model and data can.

    Args:
        args: all flags, from ``main.parse_args``.
        run_dir: where everything the run writes goes.
        callbacks: more of them for the Trainer.

    Returns:
        The last value of each logged metric; those of validation and test belong to the best weights.

    Raises:
        UsageError: the Trainer does not take the flags, or this machine cannot serve them.
    """
    hush_lightning()
    pl.seed_everything(args.seed, workers=True, verbose=False)
    model_class = load("models", args.model_name)
    model = model_class(own_args(model_class, args))
    data_class = None if brings_data(model_class) else load("data", args.data_name)
    data = data_class and data_class(own_args(data_class, args))
    trainer = build_trainer(args, run_dir, model, callbacks)
    try:
        trainer.fit(model, datamodule=data)
        metrics = dict(trainer.callback_metrics)
        best = getattr(trainer.checkpoint_callback, "best_model_path", "") or None
        for evaluate, step, loader in (
            (trainer.validate, "validation_step", "val_dataloader"),
            (trainer.test, "test_step", "test_dataloader"),
        ):
            if is_overridden(step, model) and is_overridden(loader, data or model):
                evaluate(model, datamodule=data, ckpt_path=best, weights_only=True, verbose=False)
                metrics.update(trainer.callback_metrics)
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        # Lightning refuses some flags only when it sees the model and the data. What others raise is not about flags.
        *_, (raised_in, _) = walk_tb(error.__traceback__)
        if not raised_in.f_globals["__name__"].startswith("pytorch_lightning."):
            raise
        raise UsageError(f"{args.model_name}: {error}") from error
    return {name: float(value) for name, value in metrics.items()}


def build_trainer(
    args: Namespace, run_dir: Path, model: pl.LightningModule, callbacks: Sequence[pl.Callback] = ()
) -> pl.Trainer:
    """Return Lightning's Trainer for the flags, with this project's defaults where a flag is not given.

    Raises:
        UsageError: the Trainer does not take the flags, or this machine cannot serve them.
    """
    settings: dict[str, Any] = {"default_root_dir": run_dir, "callbacks": list(callbacks)}
    if args.max_epochs is None and args.max_steps == -1 and args.max_time is None:
        settings["max_epochs"] = max(MAX_EPOCHS, args.min_epochs or 0)
    if args.log_every_n_steps is None and not args.barebones:
        settings["log_every_n_steps"] = LOG_EVERY_N_STEPS
    if args.logger is not False and not args.barebones:
        settings["logger"] = CSVLogger(run_dir, name="", version="")
    if args.enable_checkpointing is not False and not args.barebones:
        settings["callbacks"] += checkpoints(run_dir / "checkpoints", model)
    try:
        trainer: pl.Trainer = from_argparse_args(args, **settings)
    except Exception as error:  # anything that goes wrong here comes from a flag
        remedy = "" if args.accelerator in ("auto", "cpu") and not args.gpus else " Any machine has --accelerator cpu."
        raise UsageError(f"the Trainer refuses the flags: {error}{remedy}") from error
    return trainer


def checkpoints(folder: Path, model: pl.LightningModule) -> list[pl.Callback]:
    """Return what writes ``best.ckpt``, by the model's ``monitor`` if it has one, and ``last.ckpt``, every epoch."""
    last = ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    monitor, mode = getattr(model, "monitor", None), getattr(model, "monitor_mode", "min")
    if monitor is None:
        return [last]
    return [ModelCheckpoint(folder, filename="best", monitor=monitor, mode=mode, enable_version_counter=False), last]


@contextmanager
def new_run_dir(args: Namespace) -> Iterator[Path]:
    """Make a directory below ``--default_root_dir`` for one run; take it away if the run fails before it writes there.

    Of the processes of a distributed run, the first one makes it.
    """
    first = run_dir = Path(args.default_root_dir, f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{args.model_name}")
    for number in count(2):
        try:
            if is_first_process():
                run_dir.mkdir(parents=True)
            break
        except FileExistsError:  # two runs started in the same second
            run_dir = first.with_name(f"{first.name}_{number}")
    try:
        yield run_dir
    except BaseException:
        with suppress(OSError):  # not empty, or never made
            run_dir.rmdir()
        raise


def is_first_process() -> bool:
    """Return whether this process, of all that a distributed run has, is the one that writes and prints."""
    return getattr(rank_zero_only, "rank", 0) == 0


def hush_lightning() -> None:
    """Keep from the terminal what Lightning says in every run and nobody can act on."""
    warnings.filterwarnings("ignore", message=".*does not have many workers")  # data in memory needs none
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")  # Lightning's own use of torch
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(is_no_advert)


def is_no_advert(record: logging.LogRecord) -> bool:
    """Return whether a log record is about the run."""
    return "Tip:" not in str(record.msg)
