"""What fails in a model or its data shows its traceback, and under it where, on what batch, and what may help."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from harness import found
from harness.errors import RunError
from harness.training.explain import described
from main import parse_args
from tests.harness.program import main
from train import train

DATA = found.ROOT / "data"
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


def failure(capsys, *argv):
    """Return the line under the traceback of the user's own error, which is shown, and the traceback."""
    with pytest.raises(SystemExit) as stop:
        main([*argv, *QUIET])
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    return stop.value.code, shown[shown.index("Traceback") :]


def refusal(capsys, *argv):
    """Return the one line in which a command line is refused."""
    with pytest.raises(SystemExit) as stop:
        main([*argv, *QUIET])
    shown = capsys.readouterr().err
    assert (stop.value.code, "Traceback" in shown) == (2, False)
    return shown.splitlines()[-1]


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
    """Its traceback was nowhere: neither on the terminal nor in the run."""
    broken(old, new)
    line, traceback = failure(capsys)
    assert re.search(r"error: models/net\.py.*" + message, line)
    (file,) = Path("runs").glob("*/error.txt")
    *kept, last = file.read_text().splitlines()
    assert kept == traceback.splitlines()
    assert f"main.py: error: {last}" == line


@pytest.mark.parametrize(
    ("old", "new", "error", "place"),
    [
        ("x, y = batch", "x, y = bach", "NameError: name 'bach' is not defined", "training_step"),
        ("x, y = batch", "x, y = batch; x.shape.rank", "AttributeError: 'torch.Size' object has no", "training_step"),
        ("x, y = batch", "raise ValueError('odd')", "ValueError: odd", "training_step"),
        ("return torch.optim.Adam(", "return self.adam(", "AttributeError: 'Net' object", "configure_optimizers"),
        ("x, y = batch", "x, y = batch; self.log('x', 'text')", "ValueError: `self.log(x, text)` was", "training_step"),
    ],
)
def test_an_error_of_any_kind_shows_its_traceback(broken, capsys, old, new, error, place):
    broken(old, new)
    line, traceback = failure(capsys)
    assert error in line
    assert re.search(rf"models/net\.py, line \d+ in {place}", line)
    assert new in traceback


def test_a_fault_within_lightning_shows_its_traceback(broken, monkeypatch):
    """Any AttributeError, RuntimeError or ValueError of Lightning's was taken for a mistake in the flags."""
    broken()
    monkeypatch.setattr("pytorch_lightning.loops.fit_loop._FitLoop.on_run_start", lambda self: self.no_such_thing)
    with pytest.raises(AttributeError, match="no_such_thing"):
        main(QUIET)
    (file,) = Path("runs").glob("*/error.txt")
    assert "no_such_thing" in file.read_text()


def test_a_run_that_failed_at_once_is_not_the_newest(broken, capsys):
    broken("x, y = batch", "x, y = batch; assert not __import__('pathlib').Path('fail').exists()")
    main(QUIET)
    Path("fail").touch()
    failure(capsys)
    args = parse_args(["--ckpt_path", "last", "--max_epochs", "2"])
    assert not Path(args.ckpt_path).parents[1].joinpath("error.txt").exists()


def test_after_the_first_step_the_run_is_kept(broken, capsys):
    broken("x, y = batch", "x, y = batch; self.log('train_loss', 0.0); assert len(x) == 64")  # but the last has 17
    assert "models/net.py fails in training_step: AssertionError" in failure(capsys)[0]
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
    line, _ = failure(capsys, "--data_name", "uneven")
    assert "data/uneven.py cannot make a batch: RuntimeError: stack expects each tensor to be equal size" in line


def test_a_split_that_is_not_there_is_named(broken, capsys):
    broken()
    text = (DATA / "my_data.py").read_text()
    Path("data/my_data.py").write_text(text.replace('return {"train"', 'return {"training"'))
    line = refusal(capsys, "--data_name", "my_data")
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
    assert re.search(r"models/net\.py does not take these flags: " + message, failure(capsys)[0])


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


def test_what_the_csv_logger_lacks_is_told_when_fit_begins_and_where_it_fails(broken, capsys):
    call = "self.logger.experiment.add_image('x', x[0])\n        return F.cross_entropy"
    broken("return F.cross_entropy", call)
    line, _ = failure(capsys)
    remedy = "the csv logger has no experiment.add_image: run with --logger tensorboard,csv"
    assert remedy in line
    with pytest.raises(SystemExit):
        main(QUIET)
    first = capsys.readouterr().err.splitlines()[0]
    assert (
        first
        == "models/net.py calls logger.experiment.add_image, which csv does not have: add --logger tensorboard,csv"
    )
    pytest.importorskip("tensorboard")
    main([*QUIET, "--logger", "tensorboard,csv", "--limit_train_batches", "1"])
    assert "add_image" not in capsys.readouterr().err
