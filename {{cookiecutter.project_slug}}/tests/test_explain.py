"""What goes wrong between a model and its data ends in one line: where, on what batch, and what may help."""

import re
import shutil
from pathlib import Path

import pytest
import torch

import modules
from args import RunError
from explain import described
from main import main, parse_args
from train import train

DATA = modules.ROOT / "data"
QUIET = ["--enable_progress_bar", "no", "--enable_model_summary", "no", "--max_epochs", "1"]
MODEL = """
from argparse import ArgumentParser
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

class Net(pl.LightningModule):
    monitor = "val_loss"

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(28 * 28, 10)

    def forward(self, x):
        return self.layer(x.flatten(1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())
"""


@pytest.fixture
def broken(root):
    """Return a function that writes the one model there is, with something else in the place of ``old``."""
    for name in ("digits.py", "digits.npz"):
        shutil.copy(DATA / name, root / "data")

    def write(old="", new=""):
        assert old in MODEL
        Path("models/net.py").write_text(MODEL.replace(old, new))

    return write


def last_line(capsys, *argv, status=2):
    with pytest.raises(SystemExit) as stop:
        main([*argv, *QUIET])
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    line = stop.value.code if status == 1 else shown.splitlines()[-1]
    assert status == 1 or stop.value.code == status
    return line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("28 * 28", "300", r"mat1 and mat2 shapes .*, line 15 in forward, line 19 in training_step\)\. Its batch"),
        ("28 * 28, 10", "28 * 28, 3", r"Target \d is out of bounds.* from data/digits\.py: .*int64 \[64\] of 0 to 9\]"),
        ("x, y = batch", "x, y, z = batch", r"ValueError: not enough values to unpack .*\[float32 \[64, 1, 28, 28\]"),
        ("x, y = batch", "x = y = batch['x']", r"TypeError: list indices must be .*line 18 in training_step"),
        ("x, y = batch", "x = y = batch.x", "'list' object has no attribute 'x'"),
        ("x, y = batch", "x = y = {}['x']", "KeyError: 'x'"),
        ("x, y = batch", "x, y = batch; x = x.byte()", "same dtype"),
        ("self(x)", "self(x.to('meta'))", r"device=self\.device.*self\.register_buffer"),
        (
            "self(x), y)",
            "self(x), y).detach()",
            "no gradients come from its loss.*does not require grad.*without detach",
        ),
        ("self(x), y)", "self(x), y, reduction='none')", "let training_step return one number"),
    ],
)
def test_a_step_that_fails_is_told_with_its_batch(broken, capsys, old, new, message):
    broken(old, new)
    line = last_line(capsys)
    assert re.search(r"error: models/net\.py.*" + message, line)
    assert not list(Path("runs").glob("*"))


def test_a_slip_of_the_pen_shows_its_traceback(broken):
    broken("x, y = batch", "x, y = bach")
    with pytest.raises(NameError):
        main(QUIET)


def test_after_the_first_step_it_is_no_usage_error_and_the_run_is_kept(broken, capsys):
    broken("x, y = batch", "x, y = batch; self.log('train_loss', 0.0); assert len(x) == 64")  # but the last has 17
    assert "models/net.py fails in training_step: AssertionError" in last_line(capsys, status=1)
    assert list(Path("runs").glob("*/metrics.csv"))
    with pytest.raises(RunError) as error:
        train(parse_args(QUIET), Path("again"))
    assert not error.value.in_all_processes


UNEVEN = """
import pytorch_lightning as pl
import torch
class Uneven(pl.LightningDataModule):
    def train_dataloader(self):
        return torch.utils.data.DataLoader([torch.rand(n) for n in (3, 4)], batch_size=2, num_workers={})
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_that_make_no_batch_are_told_as_those_of_the_data(broken, capsys, workers):
    broken()
    Path("data/uneven.py").write_text(UNEVEN.format(workers))
    line = last_line(capsys, "--data_name", "uneven")
    assert "data/uneven.py cannot make a batch: RuntimeError: stack expects each tensor to be equal size" in line


def test_a_split_that_is_not_there_is_named(broken, capsys):
    broken()
    text = (DATA / "my_data.py").read_text()
    Path("data/my_data.py").write_text(text.replace('return {"train"', 'return {"training"'))
    line = last_line(capsys, "--data_name", "my_data")
    assert "MyData.load() returns no 'train', but training, val, test" in line


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("self.hparams = {}", r"AttributeError.*line 11 in __init__.*self\.save_hyperparameters\(hparams\)"),
        (
            "assert 64 % 3 == 0, 'width must be a multiple of heads'",
            "AssertionError: width must be a multiple of heads",
        ),
    ],
)
def test_a_model_that_does_not_take_its_flags_is_told(broken, capsys, new, message):
    broken("super().__init__()", "super().__init__(); " + new)
    assert re.search(r"models/net\.py does not take these flags: " + message, last_line(capsys))


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        (torch.zeros(2, 3), "float32 [2, 3]"),
        (torch.tensor([3, 1]), "int64 [2] of 1 to 3"),
        (torch.zeros(0, dtype=torch.int64), "int64 [0]"),
        (torch.zeros(2, device="meta"), "float32 [2] on meta"),
        ({"x": torch.zeros(1), "name": ["a"]}, "{x: float32 [1], name: [str]}"),
        ([1] * 9, "[int, int, int, int, int, int, int, int, ...]"),
        ("text", "str"),
        (None, "NoneType"),
    ],
)
def test_a_batch_is_described(batch, text):
    assert described(batch) == text
