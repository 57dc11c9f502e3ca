"""Where an optimiser may be fused."""

from types import SimpleNamespace

import pytest
import torch

from optimizers import can_fuse


@pytest.mark.parametrize(
    ("device", "precision", "clip", "fused"),
    [
        ("cpu", "32-true", None, True),
        ("cpu", "32-true", 1.0, True),
        ("cuda", "bf16-mixed", 1.0, True),
        ("cuda", "16-mixed", None, True),
        ("cuda", "16-mixed", 0.0, True),
        ("cuda", "16-mixed", 1.0, False),
        ("xla", "32-true", None, False),
    ],
)
def test_not_where_scaled_gradients_are_clipped(device, precision, clip, fused):
    trainer = SimpleNamespace(precision=precision, gradient_clip_val=clip)
    assert can_fuse(SimpleNamespace(device=torch.device(device), _trainer=trainer)) is fused


def test_without_a_trainer():
    assert can_fuse(SimpleNamespace(device=torch.device("cpu"), _trainer=None))
