"""The steps and loaders that a command needs."""

from argparse import Namespace
from typing import Any

from pytorch_lightning.utilities.model_helpers import is_overridden

from harness.found import DATA, MODELS

LOADER_OF = {"validate": "val_dataloader", "test": "test_dataloader", "predict": "predict_dataloader"}
STEP_OF = {"validate": "validation_step", "test": "test_step", "predict": "predict_step", "export": "forward"}


def missing_step(command: str, args: Namespace, model: Any, data: Any) -> str:
    """Return what is missing for a command, such as "models/net.py has no test_step", or an empty text.

    Args:
        command: validate, test, predict or export.
        args: all flags.
        model: the model.
        data: its data module, or None.
    """
    model_file = MODELS.file(args.model_name)
    if not is_overridden(STEP_OF[command], model):
        return f"{model_file} has no {STEP_OF[command]}"
    if command in LOADER_OF and not is_overridden(LOADER_OF[command], data or model):
        return f"{DATA.file(args.data_name) if data else model_file} has no {LOADER_OF[command]}"
    return ""


def can(command: str, args: Namespace, model: Any, data: Any) -> bool:
    """Return whether model and data have the step and the loader of a command."""
    return not missing_step(command, args, model, data)
