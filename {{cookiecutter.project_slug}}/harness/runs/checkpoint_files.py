"""Checkpoint files: written atomically, read once and without running code, with the flags that made them."""

import io
import os
import re
import stat
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from torch import Tensor

from harness.config_files import dump_config, parse_config, plain
from harness.errors import RunError, UsageError
from harness.files import whole_file

CONFIG_KEY = "config"  # the text of a config file: the flags that made the checkpoint
CONVERTED_KEY = "converted"  # names of hyperparameters that became texts, for their flags to convert again
HPARAMS = "hyper_parameters", "datamodule_hyper_parameters"  # where Lightning keeps those of model and data
# Hyperparameters that Lightning takes for the names of code to import and to call.
CODE = {"_instantiator", "_class_path"}
VERSION = "pytorch-lightning_version"
# Flags of searches before training: their results are in the hyperparameters.
SEARCHED = {"auto_lr_find": False, "auto_scale_batch_size": None}

# The checkpoint that this command has read, by the identity of its file, until Lightning takes it: a file is read once.
_read: dict[tuple[Any, ...], dict[str, Any]] = {}


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's plugin to write and read checkpoints, made safe.

    Args:
        flags: the flags of the run, which each checkpoint stores.
    """

    def __init__(self, flags: Mapping[str, Any]) -> None:
        self.flags = flags
        self.tried = False

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint with the flags of the run; until all of it is written, the one before stays.

        Raises:
            RunError: If the model or a callback adds an object that could not be loaded again.
        """
        if VERSION in checkpoint:  # strategies write bare weights, too, from one process for another
            hparams = {key: dict(checkpoint[key]) for key in HPARAMS if key in checkpoint}
            converted = [name for values in hparams.values() for name, value in values.items() if not is_plain(value)]
            plain_hparams = {key: plain_values(values) for key, values in hparams.items()}
            config = self.config({name: value for values in hparams.values() for name, value in values.items()})
            checkpoint = {**checkpoint, **plain_hparams, CONFIG_KEY: config, CONVERTED_KEY: converted}
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

    def config(self, hparams: Mapping[str, Any]) -> str:
        """Return the flags as a config file, with the hyperparameters that ``--auto_lr_find`` and the like found."""
        return dump_config({name: hparams.get(name, value) for name, value in self.flags.items()} | SEARCHED)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Return the content of a file, on the CPU; nothing in it is run."""
        content = _read.pop(identity(path), None) if Path(path).is_file() else None
        return torch.load(path, map_location="cpu", weights_only=True) if content is None else content

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file; whatever paths a checkpoint holds, never another kind of file or a folder."""
        if Path(path).suffix == ".ckpt" and not Path(path).is_dir():
            Path(path).unlink(missing_ok=True)


def identity(path: Any) -> tuple[Any, ...]:
    """Return what identifies the content of a file: its path, size, times and place on the disk."""
    found = os.stat(path)
    return os.path.realpath(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def unsafe_type(error: UnpicklingError) -> str:
    """Return the type that torch refuses to load, from what it says."""
    found = re.search(r"(?:GLOBAL|global|class|type) `?([\w.]+\.[\w.]+)", str(error))
    return f"a {found[1]}" if found else "what is neither a tensor nor a plain value"


def is_plain(value: Any) -> bool:
    """Return whether a value, and all in it, is of a type that safe loading takes."""
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    if type(value) in (list, tuple, set):
        return all(map(is_plain, value))
    return type(value) in (bool, int, float, str, bytes, type(None))


def plain_values(value: Any) -> Any:
    """Return a value, or those in a dict, list or the like, as types that safe loading takes."""
    if is_plain(value):
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
    try:
        kind = stat.S_IFMT(Path(path).stat().st_mode)
    except (OSError, ValueError) as error:
        raise UsageError(f"--ckpt_path {path}: {getattr(error, 'strerror', None) or error}") from error
    if kind != stat.S_IFREG:
        raise UsageError(f"--ckpt_path {path} is no file: name one, such as those in checkpoints/ of a run")
    key = identity(path)
    if key in _read:
        return _read[key]
    try:
        with open(path, "rb") as file:
            require_sound_zip(file)
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise UsageError(f"--ckpt_path {path}: {error.strerror}") from error
    except UnpicklingError as error:
        raise UsageError(f"--ckpt_path {path} holds {unsafe_type(error)}, which is not loaded safely") from error
    except Exception as error:
        reason = str(error).splitlines()[0] if isinstance(error, BadZipFile) else type(error).__name__
        raise UsageError(
            f"--ckpt_path {path} cannot be read as a checkpoint: it is damaged or foreign ({reason})"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get(VERSION), str) or "state_dict" not in content:
        raise UsageError(f"--ckpt_path {path} is no checkpoint of a Lightning model")
    require_types(path, content, {"state_dict": dict, CONVERTED_KEY: list, **dict.fromkeys(HPARAMS, dict)})
    for part in (*HPARAMS, "hparams", "module_arguments"):  # and their names in older releases
        if isinstance(content.get(part), dict) and (named := sorted(CODE & content[part].keys())):
            raise UsageError(
                f"--ckpt_path {path} names code to run: {named[0]} in {part}, as LightningCLI writes it. If you trust "
                "the file, remove that entry and save it again"
            )
    for name, value in content["state_dict"].items():
        # what a module adds by get_extra_state may have any type
        if not str(name).endswith("_extra_state") and (not isinstance(value, Tensor) or value.is_nested):
            raise UsageError(f"--ckpt_path {path} is damaged: the weights {name} are no tensor")
    _read.clear()
    _read[key] = content
    return content


def stored_flags(path: str, content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the flags that made a checkpoint.

    Args:
        path: the file, for messages.
        content: its content.

    Returns:
        The texts of a config file by name, and the exact values of those that are plain hyperparameters.

    Raises:
        UsageError: If the flags are not stored as a config file.
    """
    hparams: dict[str, Any] = {}
    for key in HPARAMS:
        hparams |= content.get(key, {})
    try:  # a checkpoint that another program made has hyperparameters alone
        settings = parse_config(content[CONFIG_KEY] if CONFIG_KEY in content else dump_config(hparams))
    except Exception as error:
        raise UsageError(f"--ckpt_path {path} does not say in plain words which flags made it: {error}") from error
    converted = content.get(CONVERTED_KEY, ())
    return settings, {name: value for name, value in hparams.items() if name in settings and name not in converted}


def require_sound_zip(content: IO[bytes]) -> None:
    """Raise BadZipFile if a checksum in a file is wrong: torch.save makes zip files, but torch.load trusts them."""
    with ZipFile(content) as file:
        if damaged := file.testzip():
            raise BadZipFile(f"the checksum of {damaged} is wrong")
        # What is marked as a folder is not read by torch, which then makes up its content.
        if folders := [info.filename for info in file.infolist() if info.external_attr & 0x10 or info.is_dir()]:
            raise BadZipFile(f"{folders[0]} is marked as a folder")


def require_types(path: str | Path, content: Mapping[str, Any], types: Mapping[str, type]) -> None:
    """Raise UsageError if a part of a checkpoint has another type."""
    for name, wanted in types.items():
        if not isinstance(content.get(name, wanted()), wanted):
            raise UsageError(f"--ckpt_path {path} is damaged: {name} is no {wanted.__name__}")


def require_training_state(path: str, content: Mapping[str, Any]) -> None:
    """Raise UsageError if a checkpoint lacks what fit needs to go on from it."""
    if "optimizer_states" not in content:
        raise UsageError(f"--ckpt_path {path} holds weights alone (--save_weights_only): fit cannot go on from it")
    types = {"optimizer_states": list, "lr_schedulers": list, "callbacks": dict, "loops": dict}
    if missing := types.keys() - content.keys():
        raise UsageError(f"--ckpt_path {path} is damaged: it has no {' and no '.join(sorted(missing))}")
    require_types(path, content, {**types, "resume": dict})
    for state in content["optimizer_states"]:
        own = state.get("state") if isinstance(state, dict) else None
        if not isinstance(own, dict) or not all(isinstance(each, dict) for each in own.values()):
            raise UsageError(f"--ckpt_path {path} is damaged: the state of its optimiser is incomplete")


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
    for name in sorted({*weights, *model_weights}, key=str):
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
    """Return the shape of a tensor as text, and its type if it is not floating point."""
    if not isinstance(tensor, Tensor):
        return "absent" if tensor is None else "no tensor"
    kind = "" if tensor.is_floating_point() else f" {tensor.dtype}"
    return f"{list(tensor.shape)}{kind}"
