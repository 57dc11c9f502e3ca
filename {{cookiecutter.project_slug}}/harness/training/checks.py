"""Checks of a run before training."""

import inspect
import re
from argparse import Namespace
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Any

from pytorch_lightning.utilities.model_helpers import is_overridden

from harness.errors import UsageError
from harness.found import DATA, MODELS, Declared
from harness.runs.checkpoint_files import HPARAMS, is_plain, require_fit
from harness.runs.run import Run
from harness.trainer_args import notice
from harness.training.steps import missing_step


def check_run(args: Namespace, run: Run, model: Any, data: Any) -> None:
    """Check that model and data have the steps of the command, and that the checkpoint fits the model.

    Raises:
        UsageError: If a step is missing, or the checkpoint does not fit.
    """
    if args.command == "fit":
        warn_of_experiment(MODELS.file(args.model_name), model, args)
        warn_of_texts(MODELS.file(args.model_name), model, args)
        if data is not None:
            warn_of_texts(DATA.file(args.data_name), data, args)
    elif reason := missing_step(args.command, args, model, data):
        raise UsageError(f"{reason}, which {args.command} needs")
    if run.ckpt_path and takes_exact_weights(model):
        require_fit(run.checkpoint["state_dict"], model.state_dict(), args, run.checkpoint.get(HPARAMS[0], {}))


def warn_of_texts(file: str, module: Any, args: Namespace) -> None:
    """Print a notice of hyperparameters that checkpoints store as text, without a flag that converts it."""
    own = vars(Declared(file, type(module)).own_args(args))
    for key, value in module.hparams.items():
        if not is_plain(value) and not is_dataclass(value) and key not in own:
            notice(
                f"{file}: checkpoints hold the hyperparameter {key} as text, since {type(value).__name__} is no plain "
                f"type: save plain values of it, or leave it out with save_hyperparameters(ignore=[{key!r}])"
            )


def warn_of_experiment(file: str, model: Any, args: Namespace) -> None:
    """Print a notice of calls such as ``logger.experiment.add_image``, if ``self.logger`` writes csv."""
    with suppress(OSError, TypeError):  # no source
        calls = re.findall(r"\.experiment\.(\w+)\(", inspect.getsource(type(model)))
        if calls and str(args.logger).split(",")[0] in ("True", "csv"):
            notice(f"{file} calls logger.experiment.{calls[0]}, which csv does not have: add --logger tensorboard,csv")


def takes_exact_weights(model: Any) -> bool:
    """Return whether a model loads weights of its present names and shapes alone."""
    return model.strict_loading and not any(
        is_overridden(hook, model) for hook in ("configure_model", "on_load_checkpoint")
    )
