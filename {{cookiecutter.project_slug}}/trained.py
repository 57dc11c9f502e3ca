"""The flags that a checkpoint was made with, so that they need not be given again."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from args import UsageError
from config_files import dump_config, parse_config
from trainer_args import notice

# Of a run that goes on; those left out say where it lies, and what to do before and after.
NEVER = {
    "command",
    "config",
    "ckpt_path",
    "predictions",
    "default_root_dir",
    "auto_lr_find",
    "auto_scale_batch_size",
}
NAMES = "model_name", "data_name", "seed"


def trained_flags(path: str, command: str) -> dict[str, Any]:
    """Return what a checkpoint says about the flags that made it, as a config file would: a text for each name.

    Args:
        path: the checkpoint.
        command: what it is wanted for.

    Raises:
        UsageError: it cannot be read, or fit cannot go on from it.
    """
    from checkpoints import CONFIG, HPARAMS, read_checkpoint  # torch

    content = read_checkpoint(path)
    if command == "fit" and "optimizer_states" not in content:
        raise UsageError(f"--ckpt_path {path} holds weights alone (--save_weights_only): fit cannot go on from it")
    try:
        if CONFIG in content:
            return parse_config(content[CONFIG])
        hparams: dict[str, Any] = {}
        for key in HPARAMS:  # of a checkpoint that another program made
            hparams |= content.get(key, {})
        return parse_config(dump_config(hparams))
    except Exception as error:
        raise UsageError(f"--ckpt_path {path} does not say in plain words which flags made it: {error}") from error


def wanted(trained: Mapping[str, Any], command: str, program: set[str]) -> dict[str, Any]:
    """Return the flags to take from a checkpoint: fit goes on with all, and other commands need model, data and seed.

    Args:
        trained: all that it has.
        command: what it is wanted for.
        program: names of flags that are neither the model's nor the data's.
    """
    return {
        name: value
        for name, value in trained.items()
        if name in NAMES or (name not in NEVER and (command == "fit" or name not in program))
    }


def show_difference(unlike: Mapping[str, tuple[Any, Any]], path: str) -> None:
    """Print which flags are not as in the checkpoint."""
    if unlike:
        flags = ", ".join(f"--{name} {value} (there {before})" for name, (value, before) in unlike.items())
        notice(f"unlike {path}: {flags}")


def require_same_model(trained: Mapping[str, Any], args: Namespace) -> None:
    """Raise UsageError if the flags name another model than a checkpoint."""
    name = trained.get("model_name", args.model_name)
    if name != args.model_name:
        raise UsageError(
            f"the checkpoint is of model {name}, not {args.model_name}: leave out --model_name, or name another file"
        )
