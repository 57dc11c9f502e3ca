"""torch.compile for the layers of a model."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torchmetrics import Metric

from harness.errors import UsageError


def compile_layers(model: pl.LightningModule) -> None:
    """Compile a model's ``forward`` and its layers, at their first call.

    The steps are not compiled, since torch.compile cannot trace their calls of Lightning.

    Raises:
        UsageError: If the model has neither.
    """
    parts: list[torch.nn.Module] = [model] if is_overridden("forward", model) else []
    if model.automatic_optimization:  # compiled code has no gradients of gradients, which others may need
        parts += layers(model)
    if not parts:
        file = f"{type(model).__module__.replace('.', '/')}.py"
        raise UsageError(f"--compile: {file} has nothing to compile, such as a forward method")
    for part in parts:
        part.compile()


def layers(module: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the direct children of a module that are callable, and those in its lists, without metrics."""
    found: list[torch.nn.Module] = []
    for child in module.children():
        if isinstance(child, torch.nn.ModuleList | torch.nn.ModuleDict):
            found += layers(child)
        elif not isinstance(child, Metric):
            found.append(child)
    return found
