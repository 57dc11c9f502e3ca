"""Where an optimiser may be fused."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import LightningModule

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


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_gradients_are_clipped_in_any_precision(precision):
    flags = ["--accelerator", "cpu", "--precision", precision, "--gradient_clip_val", "0.5", "--max_epochs", "1"]
    metrics = train(parse_args(["--model_name", "my_model", "--data_name", "my_data", *flags]), Path("run"))
    assert metrics["train_loss"] < 2


def test_without_a_trainer():
    assert can_fuse(LightningModule())
