"""One run in a directory of its own: seed, data, model, Trainer, and then fit, validate, test or predict."""

import linecache
import logging
import os
import signal
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from traceback import walk_tb
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from pytorch_lightning.utilities.model_helpers import is_overridden
from torchmetrics import Metric

from harness import found as modules
from harness.cli.config_files import dump_config, parse_config
from harness.cli.run_flags import keeps_best, monitored, without_best
from harness.errors import ModelError, RunError, Stopped, UsageError
from harness.found import brings_data, file_of, own_code, said
from harness.lightning_2_6.loops import FitLoop, OwnSignals
from harness.lightning_2_6.resume import KEY, Resume, RunFiles
from harness.runs import signals
from harness.runs.checkpoint_files import CONFIG_KEY, HPARAMS, CheckpointFiles, is_plain, read_checkpoint, require_fit
from harness.runs.run import (
    BEST,
    CONFIG_FILE,
    GIVEN_DIR,
    is_first_process,
    is_over,
    opened_run_dir,
    results,
    run_of,
    write_config,
    write_error,
    write_metrics,
)
from harness.trainer_args import Trainer, notice
from harness.training.callbacks import build_callbacks
from harness.training.explain import explain
from harness.training.loggers import build_loggers
from harness.training.predictions import write_predictions
from harness.training.progress import Progress, RunMessages, messages_above_bars

THREADS = torch.get_num_threads()  # what torch takes of itself
LOADER_OF = {"validate": "val_dataloader", "test": "test_dataloader", "predict": "predict_dataloader"}
RESTORING = "pytorch_lightning.trainer.connectors.checkpoint_connector"
STEP_OF = {"validate": "validation_step", "test": "test_step", "predict": "predict_step"}


def run(args: Namespace, run_dir: Path) -> dict[str, float | str]:
    """Do what ``--command`` says, and return what is worth printing: metrics, or the file of predictions.

    Args:
        args: all flags, from ``main.parse_args``.
        run_dir: where everything the run writes goes.

    Raises:
        UsageError: the Trainer, the model, the data or the checkpoint does not take the flags.
    """
    if args.command == "predict":
        return {"predictions": str(predict(args, run_dir)), "run": str(run_dir)}
    callbacks: list[pl.Callback] = []
    # {% if cookiecutter.sweeps in ["optuna", "both"] %}
    from harness.sweeps.reports import asked_for

    callbacks += asked_for(run_dir)
    # {% endif %}
    return results(train(args, run_dir, callbacks) if args.command == "fit" else evaluate(args, run_dir), run_dir)


def train(args: Namespace, run_dir: Path | None = None, callbacks: Sequence[pl.Callback] = ()) -> dict[str, float]:
    """Fit the model, then validate and test the weights of its best epoch, where model and data can.

    ``--test_after_fit no`` leaves out the test.

    Args:
        args: all flags, from ``main.parse_args``.
        run_dir: where everything the run writes goes; by default a new directory, as from the command line.
        callbacks: more of them for the Trainer.

    Returns:
        The last value of each logged metric; those of validation and test belong to the best weights.

    Raises:
        UsageError: the Trainer does not take the flags, or this machine cannot serve them.
        ModelError: the model or the data failed.
    """
    if run_dir is None:
        with opened_run_dir(args) as run_dir:
            return train(args, run_dir, callbacks)
    model, data, trainer = build(args, run_dir, callbacks)
    with signals.handled(), messages_above_bars(), errors_told(args, model, run_dir), all_processes(trainer):
        if args.auto_scale_batch_size or args.auto_lr_find:
            trainer.tune(model, datamodule=data)
        trainer.fit(model, datamodule=data, ckpt_path=weights_file(args), weights_only=True)
        metrics = dict(trainer.callback_metrics)
        if keeps_best(args) and monitored(args, model)[0] is None:
            notice(f"no {BEST}: {without_best(metrics)}")
        best = getattr(trainer.checkpoint_callback, "best_model_path", "") or None
        for command in ("validate", "test") if args.test_after_fit else ("validate",):
            if not missing(command, args, model, data):
                getattr(trainer, command)(model, datamodule=data, ckpt_path=best, weights_only=True, verbose=False)
                metrics.update(trainer.callback_metrics)
    result = {name: float(value) for name, value in metrics.items()}
    write_metrics(result, run_dir)
    return result


def evaluate(args: Namespace, run_dir: Path) -> dict[str, float]:
    """Validate or test, as ``--command`` says, the weights in ``--ckpt_path``, and return the metrics.

    Raises:
        UsageError: as ``train``; or there is nothing to validate or test with.
    """
    model, data, trainer = build(args, run_dir)
    with signals.handled(), messages_above_bars(), errors_told(args, model, run_dir), all_processes(trainer):
        go = getattr(trainer, args.command)
        go(model, datamodule=data, ckpt_path=weights_file(args), weights_only=True, verbose=False)
    result = {name: float(value) for name, value in trainer.callback_metrics.items()}
    write_metrics(result, run_dir)
    return result


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
    with signals.handled(), messages_above_bars(), errors_told(args, model, run_dir):
        outputs = trainer.predict(model, datamodule=data, ckpt_path=weights_file(args), weights_only=True)
    try:
        write_predictions(outputs, path)
    except ValueError as error:
        raise UsageError(f"models/{args.model_name}.py: {error}") from error
    return path


def build(
    args: Namespace, run_dir: Path, callbacks: Sequence[pl.Callback] = ()
) -> tuple[pl.LightningModule, pl.LightningDataModule | None, Any]:
    """Return the model, its data module unless it brings its own loaders, and Lightning's Trainer.

    Raises:
        UsageError: the Trainer does not take the flags, this machine cannot serve them, the checkpoint does not fit
            them, or the directory holds a run.
    """
    hush_lightning()
    threads = args.num_threads or THREADS  # a run before may have had another number
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    pl.seed_everything(args.seed, workers=True, verbose=False)
    model = modules.build("models", args.model_name, args)
    data = None if brings_data(type(model)) else modules.build("data", args.data_name, args)
    if args.command == "fit":
        warn_of_texts("models", args.model_name, model, args)
        if data is not None:
            warn_of_texts("data", args.data_name, data, args)
    if args.compile:
        compile_model(model, args)
    if args.command != "fit" and (lack := missing(args.command, args, model, data)):
        raise UsageError(f"{lack}, which {args.command} needs")
    content = read_checkpoint(args.ckpt_path) if weights_file(args) else {}
    if content and takes_exact_weights(model):
        require_fit(content["state_dict"], model.state_dict(), args, content.get(HPARAMS[0], {}))

    own_run = run_of(args.ckpt_path) if args.command == "fit" else None
    goes_on = own_run is not None and own_run.resolve() == run_dir.resolve()
    if not goes_on and is_first_process() and (run_dir / CONFIG_FILE).exists() and GIVEN_DIR not in os.environ:
        raise UsageError(f"{run_dir} holds a run already: name another directory")
    flags = vars(args).copy()
    if goes_on:  # to repeat the run is to begin where it began
        flags["ckpt_path"] = parse_config(content.get(CONFIG_KEY, "")).get("ckpt_path")

    loggers = build_loggers(args.logger, run_dir, content.get(KEY, {}).get("logs") if goes_on else None)
    settings: dict[str, Any] = {
        "default_root_dir": run_dir,
        "logger": False if goes_on else loggers or False,
        "plugins": [CheckpointFiles(partial(describe, flags, model, data))],
        "callbacks": [Resume(args.seed, stay_stopped=goes_on and not is_over(run_dir))],
    }
    if args.command == "fit":
        settings["callbacks"] += [RunFiles(flags, run_dir, loggers if goes_on else []), *callbacks]
        lack = "validation is turned off by --limit_val_batches 0" if args.limit_val_batches == 0 else ""
        settings["enable_model_summary"] = False  # there is one among the callbacks, unless it was turned off
        settings["callbacks"] += build_callbacks(args, run_dir, model, lack or missing("validate", args, model, data))
    # The old flag brings a bar of its own.
    if args.enable_progress_bar is not False and args.progress_bar_refresh_rate is None and not args.barebones:
        settings["callbacks"].append(Progress())
    if args.command != "fit":  # nothing to keep
        settings["enable_checkpointing"] = False
    if weights_file(args):  # it was checked when the run began
        settings["num_sanity_val_steps"] = 0
    try:
        trainer = Trainer.from_argparse_args(args, **settings)
    except Exception as error:  # anything that goes wrong here comes from a flag
        remedy = "" if args.accelerator in ("auto", "cpu") else " Any machine has --accelerator cpu."
        raise UsageError(f"the Trainer refuses the flags: {error}{remedy}") from error
    if args.command == "predict" and trainer.world_size > 1:
        raise UsageError("predict writes one file from one process: add --devices 1 --num_nodes 1")
    trainer._signal_connector = OwnSignals(trainer)
    if args.command == "fit":
        trainer.fit_loop = FitLoop(trainer, args.seed)
    else:
        write_config(flags, run_dir)
    return model, data, trainer


def warn_of_texts(folder: str, name: str, module: Any, args: Namespace) -> None:
    """Name the hyperparameters that a checkpoint will hold as text, and that no flag converts back."""
    own = vars(modules.own_args(type(module), args))
    for key, value in module.hparams.items():
        if not is_plain(value) and key not in own:
            notice(
                f"{file_of(folder, name)}: checkpoints hold the hyperparameter {key} as text, since "
                f"{type(value).__name__} is no plain type: save plain values of it, or leave it out with "
                f"save_hyperparameters(ignore=[{key!r}])"
            )


def compile_model(model: pl.LightningModule, args: Namespace) -> None:
    """Let torch.compile make faster code of a model's ``forward`` and of its layers, at their first call.

    Its steps stay as they are: what they call of Lightning's cannot be compiled.

    Raises:
        UsageError: it has neither.
    """
    parts: list[torch.nn.Module] = [model] if is_overridden("forward", model) else []
    if model.automatic_optimization:  # steps by hand may want gradients of gradients, which compiled code has not
        parts += layers(model)
    if not parts:
        raise UsageError(f"--compile: {file_of('models', args.model_name)} has nothing to compile, as a forward method")
    for part in parts:
        part.compile()


def layers(module: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the modules right below one that may be called, and those in its lists; no metrics."""
    found: list[torch.nn.Module] = []
    for child in module.children():
        if isinstance(child, torch.nn.ModuleList | torch.nn.ModuleDict):
            found += layers(child)
        elif not isinstance(child, Metric):
            found.append(child)
    return found


def takes_exact_weights(model: pl.LightningModule) -> bool:
    """Return whether a model takes the weights that it has now, and no others."""
    return model.strict_loading and not any(
        is_overridden(hook, model) for hook in ("configure_model", "on_load_checkpoint")
    )


def describe(flags: dict[str, Any], model: pl.LightningModule, data: pl.LightningDataModule | None) -> str:
    """Return the flags as a config file for a checkpoint: with what --auto_lr_find and the like have found."""
    found = {**(data.hparams if data else {}), **model.hparams}
    searched = {"auto_lr_find": False, "auto_scale_batch_size": None}
    return dump_config({name: found.get(name, value) for name, value in flags.items()} | searched)


def missing(command: str, args: Namespace, model: pl.LightningModule, data: pl.LightningDataModule | None) -> str:
    """Return what model or data lack for a command, as in "models/net.py has no test_step"; nothing if they can."""
    model_file, data_file = file_of("models", args.model_name), file_of("data", args.data_name)
    if not is_overridden(STEP_OF[command], model):
        return f"{model_file} has no {STEP_OF[command]}"
    if not is_overridden(LOADER_OF[command], data or model):
        return f"{data_file if data else model_file} has no {LOADER_OF[command]}"
    return ""


def weights_file(args: Namespace) -> str | None:
    """Return the checkpoint whose weights to take; None for those that the model starts with."""
    return None if args.ckpt_path == "none" else args.ckpt_path


@contextmanager
def all_processes(trainer: Any) -> Iterator[None]:
    """If a signal ends this process alone, end those too that Lightning has started for it."""
    try:
        yield
    except Stopped as stopped:
        launcher = trainer.strategy.launcher
        if not stopped.together and isinstance(launcher, _SubprocessScriptLauncher):
            launcher.kill(signal.SIGKILL)
        raise


@contextmanager
def errors_told(args: Namespace, model: pl.LightningModule, run_dir: Path) -> Iterator[None]:
    """Turn what Lightning refuses into an error of one line, and write what fails in a model or data to error.txt.

    Raises:
        UsageError: Lightning does not take the flags, or the weights of the checkpoint.
        ModelError: the model or the data failed.
    """
    try:
        yield
    except (UsageError, RunError):
        raise
    except Exception as error:
        if is_restoring(error):
            raise UsageError(f"--ckpt_path {args.ckpt_path} does not fit these flags: {error}") from error
        if is_refusal(error):
            raise UsageError(f"{args.model_name}: {error}") from error
        line = explain(error, args, model)
        write_error(error, line or said(error), run_dir)
        if line is None:
            raise
        raise ModelError(line) from error


def is_restoring(error: Exception) -> bool:
    """Return whether Lightning raised an error while it restored a checkpoint."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return any(frame.f_globals.get("__name__") == RESTORING and "restore" in frame.f_code.co_name for frame in frames)


def is_refusal(error: Exception) -> bool:
    """Return whether Lightning raised an error on purpose, and not from within the user's code: its text is for users.

    An error that its code runs into is a fault, of its own or of ours, and is shown with its traceback.
    """
    *_, (frame, line) = walk_tb(error.__traceback__)
    on_purpose = linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise ")
    return on_purpose and frame.f_globals.get("__name__", "").startswith("pytorch_lightning.") and not own_code(error)


def hush_lightning() -> None:
    """Keep from the terminal what Lightning says in every run and nobody can act on."""
    warnings.filterwarnings("ignore", message=".*does not have many workers")  # data in memory needs none
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists")  # of a run that goes on
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint need")  # not to test with it
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")  # Lightning's own use of torch
    warnings.filterwarnings("ignore", message="The `srun` command is available")  # also where a job is not wanted
    logging.getLogger("pytorch_lightning.utilities.rank_zero").filters[:] = [RunMessages()]
