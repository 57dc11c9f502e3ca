"""Optimisers and schedules from flags, and where an optimiser may be fused."""

import shutil
from math import cos, pi
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Callback, LightningModule

from harness.errors import UsageError
from harness.optimizers import can_fuse
from main import parse_args
from tests.conftest import TEMPLATE
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
        train(parse_args(["--model_name", "my_model", "--data_name", "my_data", *flags]), Path(name), callbacks=[norms])
        most.append(max(norms.found))
    clipped, free = most
    assert free > 0.1  # there was something to clip
    assert clipped == pytest.approx(0.05, rel=0.02)


def test_without_a_trainer():
    assert can_fuse(LightningModule())


@pytest.fixture
def flagged(root):
    """A model with the flags of optimisers, and data for it."""
    text = (TEMPLATE / "models" / "my_model.py").read_text()
    old = 'group.add_argument("--learning_rate", type=positive_float, default=1e-2, help="step size of Adam")'
    assert old in text
    text = text.replace(old, "add_optimizer_args(group, optimizer='sgd', learning_rate=0.1)")
    text = text.replace("from harness.optimizers import can_fuse", "from harness.optimizers import build_optimizer")
    text = text.replace(
        "from harness.flags", "from harness.optimizer_flags import add_optimizer_args\nfrom harness.flags"
    )
    returned = "return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate, fused=can_fuse(self))"
    assert returned in text
    (root / "models" / "flagged.py").write_text(text.replace(returned, "return build_optimizer(self)"))
    for name in ("digits.py", "digits.npz"):
        shutil.copy(TEMPLATE / "data" / name, root / "data")


class Rates(Callback):
    """Collects the step size of each step, and the optimiser."""

    def __init__(self):
        self.found = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.optimizer = trainer.optimizers[0]
        self.found.append(self.optimizer.param_groups[0]["lr"])


def rates(*argv, folder="run"):
    watch = Rates()
    args = parse_args(["--accelerator", "cpu", "--limit_train_batches", "5", "--limit_val_batches", "1", *argv])
    train(args, Path(folder), callbacks=[watch])
    return watch


@pytest.mark.parametrize(
    ("schedule", "shape"),
    [("constant", lambda t: 1), ("linear", lambda t: 1 - t), ("cosine", lambda t: (1 + cos(pi * t)) / 2)],
)
@pytest.mark.parametrize("warmup", [0, 4])
def test_the_step_size_follows_the_schedule_after_warm_up(flagged, schedule, shape, warmup):
    found = rates("--max_epochs", "2", "--lr_schedule", schedule, "--warmup_steps", str(warmup)).found
    expected = [(step + 1) / (warmup + 1) for step in range(warmup)]
    expected += [shape((step - warmup) / (10 - warmup)) for step in range(warmup, 10)]
    assert found == pytest.approx([0.1 * factor for factor in expected])


def test_the_flags_are_those_of_the_optimiser(flagged):
    sgd = rates("--max_epochs", "1", "--momentum", "0.5", "--weight_decay", "0.01", "--learning_rate", "0.2").optimizer
    assert isinstance(sgd, torch.optim.SGD)
    assert {"lr": 0.2, "momentum": 0.5, "weight_decay": 0.01}.items() <= sgd.param_groups[0].items()
    adamw = rates("--max_epochs", "1", "--optimizer", "adamw", "--weight_decay", "0.1", folder="other").optimizer
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.param_groups[0]["weight_decay"] == 0.1


def test_a_schedule_that_is_resumed_with_another_limit_follows_that(flagged):
    argv = ("--lr_schedule", "linear", "--max_epochs")
    whole = rates(*argv, "3", folder="whole").found
    rates(*argv, "2")
    resumed = rates("--ckpt_path", "run/checkpoints/last.ckpt", "--max_epochs", "3").found
    assert resumed == pytest.approx(whole[10:])


def test_a_schedule_without_an_end_is_one_line(flagged):
    with pytest.raises(UsageError, match="--lr_schedule cosine needs an end: add --max_epochs or --max_steps"):
        rates("--lr_schedule", "cosine", "--max_epochs", "-1", "--max_time", "00:00:00:05")
