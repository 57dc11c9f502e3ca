"""Checkpoint files: written atomically with the flags of their run, read once and without executing code."""

import io
import os
import re
import stat
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from torch import Tensor
from torch.nn.parameter import is_lazy

from harness.config_files import dump_config, parse_config, plain
from harness.errors import RunError, UsageError
from harness.files import whole_file

CONFIG_KEY = "config"  # the text of a config file: the flags that made the checkpoint
CONVERTED_KEY = "converted"  # names of hyperparameters stored as text, which their flags convert
HPARAMS = "hyper_parameters", "datamodule_hyper_parameters"  # keys of Lightning for model and data
# Hyperparameters that Lightning reads as names of code to import and call.
CODE = {"_instantiator", "_class_path"}
UNKNOWN = "of a shape yet unknown"  # a parameter of a lazy layer, which takes any weights
VERSION = "pytorch-lightning_version"
# Flags of searches before training, whose results are in the hyperparameters.
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
        """Write a checkpoint with the flags of the run, atomically.

        Raises:
            RunError: If the model or a callback adds an object that safe loading rejects.
        """
        if VERSION in checkpoint:  # strategies also write bare weights, from one process for another
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
        """Return the flags as a config file, with the hyperparameters found by searches such as ``--auto_lr_find``."""
        return dump_config({name: hparams.get(name, value) for name, value in self.flags.items()} | SEARCHED)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Return the content of a file, on the CPU, without executing code in it."""
        content = _read.pop(identity(path), None) if Path(path).is_file() else None
        return torch.load(path, map_location="cpu", weights_only=True) if content is None else content

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint file; other files and folders stay, whatever paths a checkpoint holds."""
        if Path(path).suffix == ".ckpt" and not Path(path).is_dir():
            Path(path).unlink(missing_ok=True)


def identity(path: Any) -> tuple[Any, ...]:
    """Return an identity of the content of a file: its path, size, time and inode."""
    found = os.stat(path)
    return os.path.realpath(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def unsafe_type(error: UnpicklingError) -> str:
    """Return the type that torch rejects, from its message."""
    found = re.search(r"(?:GLOBAL|global|class|type) `?([\w.]+\.[\w.]+)", str(error))
    return f"a {found[1]}" if found else "what is neither a tensor nor a plain value"


def is_plain(value: Any) -> bool:
    """Return whether safe loading accepts a value and all its parts."""
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    if type(value) in (list, tuple, set):
        return all(map(is_plain, value))
    return type(value) in (bool, int, float, str, bytes, type(None))


def plain_values(value: Any) -> Any:
    """Return a value with all its parts as types that safe loading accepts."""
    if is_plain(value):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_values(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain_values(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(plain_values(item) for item in value)
    return plain(value)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint of Lightning, on the CPU, without executing code in it.

    Raises:
        UsageError: If the file is missing, damaged, not from Lightning, or holds objects that are not loaded safely.
    """
    require_file(path, "--ckpt_path")
    key = identity(path)
    if key in _read:
        return _read[key]
    content = load_safely(path, "--ckpt_path")
    if not isinstance(content, dict) or not isinstance(content.get(VERSION), str) or "state_dict" not in content:
        raise UsageError(f"--ckpt_path {path} is no checkpoint of a Lightning model")
    require_types(path, content, {"state_dict": dict, CONVERTED_KEY: list, **dict.fromkeys(HPARAMS, dict)})
    for part in (*HPARAMS, "hparams", "module_arguments"):  # the keys of older releases
        if isinstance(content.get(part), dict) and (named := sorted(CODE & content[part].keys())):
            raise UsageError(
                f"--ckpt_path {path} names code to run: {named[0]} in {part}, as LightningCLI writes it. If you trust "
                "the file, remove that entry and save it again"
            )
    if name := no_tensor(content["state_dict"]):
        raise UsageError(f"--ckpt_path {path} is damaged: the weights {name} are no tensor")
    _read.clear()
    _read[key] = content
    return content


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the weights in the file of ``--init_from``, a checkpoint or a ``state_dict``, on the CPU.

    Raises:
        UsageError: If the file is missing, damaged, holds no weights, or holds objects that are not loaded safely.
    """
    require_file(path, "--init_from")
    content = load_safely(path, "--init_from")
    weights = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise UsageError(f"--init_from {path} holds no weights by name, as a checkpoint or a state_dict does")
    if name := no_tensor(weights):
        raise UsageError(f"--init_from {path} is neither a checkpoint nor a state_dict: {name} is no tensor")
    return {name: value for name, value in weights.items() if not is_extra_state(name)}


def no_tensor(weights: Mapping[Any, Any]) -> str:
    """Return the name of the first weights that are no tensor, or nothing; extra states may have any type."""
    wrong = [
        str(name)
        for name, value in weights.items()
        if not is_extra_state(name) and (not isinstance(value, Tensor) or value.is_nested)
    ]
    return next(iter(wrong), "")


def is_extra_state(name: Any) -> bool:
    """Return whether a value of a ``state_dict`` is of ``get_extra_state``, and no weights."""
    return str(name).endswith("_extra_state")


def require_file(path: str | Path, flag: str) -> None:
    """Raise UsageError, which names the flag of the path, if it is no file on this machine."""
    if "://" in str(path):
        raise UsageError(f"{flag} {path} is not on this machine: download it, and name the file")
    try:
        kind = stat.S_IFMT(Path(path).stat().st_mode)
    except (OSError, ValueError) as error:
        raise UsageError(f"{flag} {path}: {getattr(error, 'strerror', None) or error}") from error
    if kind != stat.S_IFREG:
        raise UsageError(f"{flag} {path} is no file: name one, such as those in checkpoints/ of a run")


def load_safely(path: str | Path, flag: str) -> Any:
    """Return the content of a file of torch, on the CPU, without executing code in it.

    Raises:
        UsageError: If the file is damaged, or holds objects that are not loaded safely; it names the flag of the path.
    """
    try:
        with open(path, "rb") as file:
            require_sound_zip(file)
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}") from error
    except UnpicklingError as error:
        raise UsageError(f"{flag} {path} holds {unsafe_type(error)}, which is not loaded safely") from error
    except Exception as error:
        reason = str(error).splitlines()[0] if isinstance(error, BadZipFile) else type(error).__name__
        raise UsageError(
            f"{flag} {path} cannot be read as a checkpoint: it is damaged or foreign ({reason})"
        ) from error


def stored_flags(path: str, content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the flags of the run that wrote a checkpoint.

    Args:
        path: the file, for messages.
        content: its content.

    Returns:
        The texts of a config file by name, and the exact values of plain hyperparameters.

    Raises:
        UsageError: If the flags are not stored as a config file.
    """
    hparams: dict[str, Any] = {}
    for key in HPARAMS:
        hparams |= content.get(key, {})
    try:  # a checkpoint of another program has hyperparameters alone
        settings = parse_config(content[CONFIG_KEY] if CONFIG_KEY in content else dump_config(hparams))
    except Exception as error:
        raise UsageError(f"--ckpt_path {path} does not say in plain words which flags made it: {error}") from error
    converted = content.get(CONVERTED_KEY, ())
    return settings, {name: value for name, value in hparams.items() if name in settings and name not in converted}


def require_sound_zip(content: IO[bytes]) -> None:
    """Raise BadZipFile if a checksum is wrong; torch.save writes zip files, whose checksums torch.load ignores."""
    with ZipFile(content) as file:
        if damaged := file.testzip():
            raise BadZipFile(f"the checksum of {damaged} is wrong")
        # torch does not read entries marked as folders, and returns arbitrary values for them.
        if folders := [info.filename for info in file.infolist() if info.external_attr & 0x10 or info.is_dir()]:
            raise BadZipFile(f"{folders[0]} is marked as a folder")


def require_types(path: str | Path, content: Mapping[str, Any], types: Mapping[str, type]) -> None:
    """Raise UsageError if a part of a checkpoint has another type."""
    for name, wanted in types.items():
        if not isinstance(content.get(name, wanted()), wanted):
            raise UsageError(f"--ckpt_path {path} is damaged: {name} is no {wanted.__name__}")


def require_training_state(path: str, content: Mapping[str, Any]) -> None:
    """Raise UsageError if a checkpoint lacks state that fit needs to resume."""
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
        weights: tensors of the checkpoint by name.
        model_weights: tensors of the model by name.
        args: all flags.
        hparams: hyperparameters of the model in the checkpoint.
    """
    for name in sorted({*weights, *model_weights}, key=str):
        theirs, ours = shape(weights.get(name)), shape(model_weights.get(name))
        if theirs != ours and ours != UNKNOWN:
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
    if is_lazy(tensor):
        return UNKNOWN
    kind = "" if tensor.is_floating_point() else f" {tensor.dtype}"
    return f"{list(tensor.shape)}{kind}"
