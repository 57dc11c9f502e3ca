"""Where an optimiser may be fused."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Callback, LightningModule

from harness.optimizers import can_fuse
from main import parse_args
from train import train


@pytest.mark.parametrize(
    ("device", "precision", "clip", "fused"),
    [
        ("cpu", "32-true", None, True),
        ("cpu", "32-true", 1.0, True),
        ("cuda", "bf16-true", 1.0, True),
        ("cuda", "bf16-mixed", None, True),
        ("cuda", "bf16-mixed", 1.0, False),
        ("cuda", "16-mixed", None, True),
        ("cuda", "16-mixed", 0.0, True),
        ("cuda", "16-mixed", 1.0, False),
        ("xla", "32-true", None, False),
    ],
)
def test_not_where_gradients_are_clipped_in_mixed_precision(device, precision, clip, fused):
    trainer = SimpleNamespace(precision=precision, gradient_clip_val=clip)
    assert can_fuse(SimpleNamespace(device=torch.device(device), trainer=trainer)) is fused


class Norms(Callback):
    """Collects the norm of the gradients that each step was made with: they are zeroed in the next one."""

    def __init__(self):
        self.found = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        gradients = [parameter.grad.float().flatten() for parameter in pl_module.parameters()]
        self.found.append(torch.cat(gradients).norm().item())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_gradients_are_clipped_in_any_precision(precision):
    most = []
    for name, clip in (("clipped", ["--gradient_clip_val", "0.05"]), ("free", [])):
        flags = ["--accelerator", "cpu", "--precision", precision, "--max_epochs", "1", *clip]
        norms = Norms()
        train(parse_args(["--model_name", "my_model", "--data_name", "my_data", *flags]), Path(name), [norms])
        most.append(max(norms.found))
    clipped, free = most
    assert free > 0.1  # there was something to clip
    assert clipped == pytest.approx(0.05, rel=0.02)


def test_without_a_trainer():
    assert can_fuse(LightningModule())
