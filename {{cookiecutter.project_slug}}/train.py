"""One run in a directory of its own: seed, data, model, Trainer, and then fit, validate, test or predict."""

import logging
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.model_helpers import is_overridden

from args import UsageError
from callbacks import build_callbacks, build_loggers
from modules import brings_data, load, own_args
from predictions import write_predictions
from runs import write_config
from trainer_args import Trainer

LOADER_OF = {"validate": "val_dataloader", "test": "test_dataloader", "predict": "predict_dataloader"}
STEP_OF = {"validate": "validation_step", "test": "test_step", "predict": "predict_step"}


def run(args: Namespace, run_dir: Path) -> dict[str, float | str]:
    """Do what ``--command`` says, and return what is worth printing: metrics, or the file of predictions.

    Args:
        args: all flags, from ``main.parse_args``.
        run_dir: where everything the run writes goes.

    Raises:
        UsageError: the Trainer, the model, the data or the checkpoint does not take the flags.
    """
    if args.command == "fit":
        return {**train(args, run_dir)}
    if args.command == "predict":
        return {"predictions": str(predict(args, run_dir))}
    return {**evaluate(args, run_dir)}


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
    model, data, trainer = build(args, run_dir, callbacks)
    with usage_errors(args):
        if args.auto_scale_batch_size or args.auto_lr_find:
            trainer.tune(model, datamodule=data)
        trainer.fit(model, datamodule=data, ckpt_path=checkpoint(args), weights_only=True)
        metrics = dict(trainer.callback_metrics)
        best = getattr(trainer.checkpoint_callback, "best_model_path", "") or None
        for command in ("validate", "test"):
            if not missing(command, args, model, data):
                getattr(trainer, command)(model, datamodule=data, ckpt_path=best, weights_only=True, verbose=False)
                metrics.update(trainer.callback_metrics)
    return {name: float(value) for name, value in metrics.items()}


def evaluate(args: Namespace, run_dir: Path) -> dict[str, float]:
    """Validate or test, as ``--command`` says, the weights in ``--ckpt_path``, and return the metrics.

    Raises:
        UsageError: as ``train``; or there is nothing to validate or test with.
    """
    model, data, trainer = build(args, run_dir)
    with usage_errors(args):
        go = getattr(trainer, args.command)
        go(model, datamodule=data, ckpt_path=checkpoint(args), weights_only=True, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def predict(args: Namespace, run_dir: Path) -> Path:
    """Write what the model with the weights in ``--ckpt_path`` predicts, and return the file.

    Raises:
        UsageError: as ``train``; or there is nothing to predict, or the predictions cannot be written as a table.
    """
    path = Path(args.predictions or run_dir / "predictions.csv")
    if path.exists():
        raise UsageError(f"--predictions {path} exists already: name another file, or remove it")
    if args.devices == "auto":
        args = Namespace(**{**vars(args), "devices": 1})
    model, data, trainer = build(args, run_dir)
    with usage_errors(args):
        outputs = trainer.predict(model, datamodule=data, ckpt_path=checkpoint(args), weights_only=True)
    try:
        write_predictions(outputs, path)
    except ValueError as error:
        raise UsageError(f"models/{args.model_name}.py: {error}") from error
    return path


def build(
    args: Namespace, run_dir: Path, callbacks: Sequence[pl.Callback] = ()
) -> tuple[pl.LightningModule, pl.LightningDataModule | None, Any]:
    """Return the model, its data module unless it brings its own loaders, and Lightning's Trainer; write the flags.

    Raises:
        UsageError: the Trainer does not take the flags, or this machine cannot serve them.
    """
    hush_lightning()
    pl.seed_everything(args.seed, workers=True, verbose=False)
    model_class = load("models", args.model_name)
    model = model_class(own_args(model_class, args))
    data_class = None if brings_data(model_class) else load("data", args.data_name)
    data = data_class and data_class(own_args(data_class, args))
    if args.command != "fit" and (lack := missing(args.command, args, model, data)):
        raise UsageError(f"{lack}, which {args.command} needs")
    if checkpoint(args):
        require_checkpoint(args.ckpt_path)
    settings: dict[str, Any] = {"default_root_dir": run_dir, "logger": build_loggers(args.logger, run_dir) or False}
    if args.command == "fit":
        settings["callbacks"] = [*callbacks, *build_callbacks(args, run_dir, model)]
    else:  # nothing to keep
        settings["enable_checkpointing"] = False
    try:
        trainer = Trainer.from_argparse_args(args, **settings)
    except Exception as error:  # anything that goes wrong here comes from a flag
        remedy = "" if args.accelerator in ("auto", "cpu") else " Any machine has --accelerator cpu."
        raise UsageError(f"the Trainer refuses the flags: {error}{remedy}") from error
    if args.command == "predict" and trainer.world_size > 1:
        raise UsageError("predict writes one file from one process: add --devices 1 --num_nodes 1")
    write_config(args, run_dir)
    return model, data, trainer


def missing(command: str, args: Namespace, model: pl.LightningModule, data: pl.LightningDataModule | None) -> str:
    """Return what model or data lack for a command, as in "models/net.py has no test_step"; nothing if they can."""
    model_file, data_file = f"models/{args.model_name}.py", f"data/{args.data_name}.py"
    if not is_overridden(STEP_OF[command], model):
        return f"{model_file} has no {STEP_OF[command]}"
    if not is_overridden(LOADER_OF[command], data or model):
        return f"{data_file if data else model_file} has no {LOADER_OF[command]}"
    return ""


def checkpoint(args: Namespace) -> str | None:
    """Return the checkpoint whose weights to take; None for those that the model starts with."""
    return None if args.ckpt_path == "none" else args.ckpt_path


def require_checkpoint(path: str) -> None:
    """Raise UsageError if a file is no checkpoint of Lightning's, or would have to be unpickled unsafely."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(f"--ckpt_path {path} cannot be read as a checkpoint: {type(error).__name__}") from error
    if not isinstance(content, dict) or not {"state_dict", "pytorch-lightning_version"} <= content.keys():
        raise UsageError(f"--ckpt_path {path} is no checkpoint of a Lightning model")


@contextmanager
def usage_errors(args: Namespace) -> Iterator[None]:
    """Turn what Lightning refuses only when it sees the model, the data and the checkpoint into a UsageError."""
    try:
        yield
    except (MisconfigurationException, AttributeError, RuntimeError, ValueError) as error:
        *_, (raised_in, _) = walk_tb(error.__traceback__)
        if "Error(s) in loading state_dict" in str(error):
            remedy = "give the flags it was made with, as in --config RUN/config.yaml"
            raise UsageError(
                f"--ckpt_path {args.ckpt_path} has other weights than these flags make: {remedy}"
            ) from error
        # What others raise is not about flags.
        if not raised_in.f_globals["__name__"].startswith("pytorch_lightning."):
            raise
        raise UsageError(f"{args.model_name}: {error}") from error


def hush_lightning() -> None:
    """Keep from the terminal what Lightning says in every run and nobody can act on."""
    warnings.filterwarnings("ignore", message=".*does not have many workers")  # data in memory needs none
    warnings.filterwarnings("ignore", message="Experiment logs directory")  # it holds config.yaml
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")  # Lightning's own use of torch
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(is_no_advert)


def is_no_advert(record: logging.LogRecord) -> bool:
    """Return whether a log record is about the run."""
    return "Tip:" not in str(record.msg)
