"""Checkpoint files: written whole or not at all, read without running code, and telling which flags made them."""

import io
import re
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from torch import Tensor

from args import RunError, UsageError
from config_files import plain
from files import whole_file

CONFIG_KEY = "config"  # under this key a checkpoint holds the text of a config file: the flags that made it
HPARAMS = "hyper_parameters", "datamodule_hyper_parameters"  # where Lightning keeps those of model and data
VERSION = "pytorch-lightning_version"


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's way to write and read checkpoints, made safe.

    Args:
        config: returns the text of a config file with the flags of the run.
    """

    def __init__(self, config: Callable[[], str]) -> None:
        """Remember where the flags come from."""
        self.config = config
        self.tried = False

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint that describes itself; until all of it is written, the one before stays.

        Raises:
            RunError: the model or a callback puts something into it that could not be loaded again.
        """
        if VERSION in checkpoint:  # strategies write bare weights, too, from one process for another
            hparams = {name: plain_values(checkpoint[name]) for name in HPARAMS if name in checkpoint}
            checkpoint = {**checkpoint, **hparams, CONFIG_KEY: self.config()}
        buffer = io.BytesIO()  # straight to a file, torch turns a full disk into a RuntimeError
        torch.save(checkpoint, buffer)
        if not self.tried:
            try:
                torch.load(io.BytesIO(buffer.getbuffer()), map_location="cpu", weights_only=True)
            except UnpicklingError as error:
                raise RunError(f"checkpoints could not be loaded again: they hold {unsafe_type(error)}") from error
            self.tried = True
        with whole_file(Path(path)) as file:
            file.write(buffer.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Return the content of a file; nothing in it is run."""
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)


def unsafe_type(error: UnpicklingError) -> str:
    """Return the type that torch refuses to load, from what it says."""
    found = re.search(r"(?:GLOBAL|global|class|type) `?([\w.]+\.[\w.]+)", str(error))
    return f"a {found[1]}" if found else "what is neither a tensor nor a plain value"


def plain_values(value: Any) -> Any:
    """Return a value, or those in a dict, list or the like, as types that safe loading takes."""
    if type(value) in (bool, int, float, str, bytes, type(None)):
        return value
    if isinstance(value, Mapping):
        return {key: plain_values(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(plain_values(item) for item in value)
    return plain(value)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint of Lightning's, on the CPU; nothing in it is run, whoever made it.

    Raises:
        UsageError: it is not there, damaged, not from Lightning, or holds what cannot be loaded safely.
    """
    if "://" in str(path):
        raise UsageError(f"--ckpt_path {path} is not on this machine: download it, and name the file")
    if Path(path).is_dir():
        raise UsageError(f"--ckpt_path {path} is a directory: name a file, such as one in checkpoints/ of a run")
    try:
        with ZipFile(path) as file:  # torch.save makes zip files, but torch.load does not look at their checksums
            damaged = file.testzip()
        if damaged:
            raise BadZipFile(f"the checksum of {damaged} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"--ckpt_path {path}: there is no such file") from error
    except PermissionError as error:
        raise UsageError(f"--ckpt_path {path}: {error.strerror}") from error
    except UnpicklingError as error:
        raise UsageError(f"--ckpt_path {path} holds {unsafe_type(error)}, which is not loaded safely") from error
    except Exception as error:
        reason = str(error).splitlines()[0] if isinstance(error, BadZipFile) else type(error).__name__
        raise UsageError(
            f"--ckpt_path {path} cannot be read as a checkpoint: it is damaged or foreign ({reason})"
        ) from error
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or VERSION not in content:
        raise UsageError(f"--ckpt_path {path} is no checkpoint of a Lightning model")
    return content


def require_fit(
    weights: Mapping[str, Any], model_weights: Mapping[str, Any], args: Namespace, hparams: Mapping[str, Any]
) -> None:
    """Raise UsageError if the weights of a checkpoint do not fit a model.

    Args:
        weights: its tensors by name.
        model_weights: those of the model.
        args: all flags.
        hparams: the model's, from the checkpoint.
    """
    for name in sorted({*weights, *model_weights}):
        theirs, ours = shape(weights.get(name)), shape(model_weights.get(name))
        if theirs != ours:
            values = {
                flag: (plain_values(getattr(args, flag)), value) for flag, value in hparams.items() if flag in args
            }
            flags = [f"--{flag} {now}, there {there}" for flag, (now, there) in values.items() if now != there]
            reason = f" ({'; '.join(flags)})" if flags else ""
            raise UsageError(
                f"--ckpt_path {args.ckpt_path} has other weights than these flags make{reason}: {name} is {theirs} in "
                f"the file, {ours} in the model"
            )


def shape(tensor: Any) -> str:
    """Return the shape of a tensor as text."""
    if tensor is None:
        return "absent"
    return str(list(tensor.shape)) if isinstance(tensor, Tensor) else "no tensor"
