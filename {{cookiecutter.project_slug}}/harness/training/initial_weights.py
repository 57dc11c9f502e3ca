"""The weights that a new run starts with: ``--init_from``."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor

from harness.errors import UsageError
from harness.runs.checkpoint_files import UNKNOWN, is_extra_state, read_weights, shape
from harness.trainer_args import notice

SHOWN = 3  # names in a message
LATE = ("configure_model", "configure_sharded_model", "setup")  # hooks in which a model makes layers


class InitialWeights(pl.Callback):
    """Gives a new run the weights of a file whose names and shapes are those of the model, in every process.

    They are taken in ``setup``, before a strategy shards them and an average copies them. A model that makes layers in
    a hook has them all in ``on_fit_start``: Lightning has no hook of callbacks between ``configure_model`` and that.

    Args:
        path: the file.
        model: the model.
        strict: whether a difference is an error.

    Raises:
        UsageError: If the file cannot be read, nothing in it matches, or something differs and ``strict`` is true; for
            a model that makes layers in a hook, when they are made.
    """

    def __init__(self, path: str, model: pl.LightningModule, *, strict: bool) -> None:
        self.path, self.strict = path, strict
        self.weights: dict[str, Tensor] | None = read_weights(path)
        self.is_late = any(is_overridden(hook, model) for hook in LATE)
        self.is_told = False
        if not self.is_late:
            self.matching(model)  # errors come before loggers begin

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the weights, if all layers are there; again after a search such as ``--auto_lr_find``."""
        if stage == "fit" and not self.is_late:
            self.take(trainer, pl_module)

    def on_fit_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Take the weights, if the model has made layers in a hook; averages begin with them."""
        if self.is_late and self.take(trainer, pl_module):
            for callback in trainer.callbacks:
                if isinstance(callback, WeightAveraging):
                    callback.setup(trainer, pl_module, "fit")

    def take(self, trainer: pl.Trainer, model: pl.LightningModule) -> bool:
        """Load the weights, unless training has begun, and return whether it has not; print the differences once."""
        if trainer.global_step > 0:
            return False
        found, text = self.matching(model)
        load(model, found)
        self.weights = None  # the memory is free
        if not self.is_told:
            notice(text)
        self.is_told = True
        return True

    def matching(self, model: pl.LightningModule) -> tuple[dict[str, Tensor], str]:
        """Return the weights of the file that the model has, too, and a text about all others.

        Raises:
            UsageError: If there are none, or if something differs and ``strict`` is true.
        """
        if self.weights is None:
            self.weights = read_weights(self.path)
        theirs, own = self.weights, {k: v for k, v in model.state_dict().items() if not is_extra_state(k)}
        shapes = {name: shape(value) for name, value in own.items()}
        found = {name: value for name, value in theirs.items() if shapes.get(name) in (shape(value), UNKNOWN)}
        left = listed({name: value for name, value in theirs.items() if name not in found})
        new = listed({name: value for name, value in own.items() if name not in found})
        parts = [f"left out in the file: {left}"] * bool(left) + [f"new in the model: {new}"] * bool(new)
        if not found:
            raise UsageError(f"--init_from {self.path}: no weights match by name and shape; {'; '.join(parts)}")
        count = f"{len(found)} of {len(theirs)}" if left else f"all {len(found)}"
        text = f"weights of {self.path}: {'; '.join([f'{count} taken', *parts])}"
        if self.strict and parts:
            raise UsageError(f"--init_from_strict: {text}")
        return found, text


def load(model: pl.LightningModule, weights: dict[str, Any]) -> None:
    """Load whole weights into a model, whose own may be split over processes, as ``fully_shard`` does."""
    if not any(hasattr(parameter, "device_mesh") for parameter in model.parameters()):
        model.load_state_dict(weights, strict=False)
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict  # half a second

    set_model_state_dict(model, weights, options=StateDictOptions(full_state_dict=True, strict=False))


def listed(weights: Mapping[str, Tensor]) -> str:
    """Return the first names of weights, with their shapes."""
    texts = [f"{name} {shape(value)}" for name, value in list(weights.items())[:SHOWN]]
    return ", ".join(texts) + f", and {len(weights) - SHOWN} more" * (len(weights) > SHOWN)
