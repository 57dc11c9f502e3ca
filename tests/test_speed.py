"""What makes runs fast and small, counted: calls, loads, imports and memory; seconds are for the benchmarks."""

import sys

import pytest

MOST_CALLS = 800  # of a training step; Lightning as tutorials write it makes 4,860

COUNT = """
import sys

from main import parse_args
from harness.runs.run import open_run
from harness.lightning_2_6.loops import EpochLoop
from train import train

calls, marks = 0, []


def count(frame, event, argument):
    global calls
    calls += event == "call"


def advance(self, data_fetcher, original=EpochLoop.advance):
    marks.append((self.trainer.current_epoch, calls))
    original(self, data_fetcher)


EpochLoop.advance = advance
args = parse_args(sys.argv[1:])
with open_run(args) as run:
    sys.setprofile(count)
    train(args, run)
    sys.setprofile(None)
steps = [later - now for (epoch, now), (next_epoch, later) in zip(marks, marks[1:]) if epoch == next_epoch]
steps = steps[len(steps) // 5 :]  # torch does some things once, in the first steps
print("calls", sum(steps) / len(steps))
"""


def calls_per_step(project, tmp_path, *argv):
    """Return how many Python functions a training step calls, in the mean over epochs."""
    result = project.python("-c", COUNT, *argv, "--default_root_dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    return float(next(line for line in result.stdout.splitlines() if line.startswith("calls")).split()[1])


def test_a_step_of_the_default_model_makes_few_calls(project, tmp_path):
    assert calls_per_step(project, tmp_path, "--max_epochs", "5") < MOST_CALLS


def test_logging_every_step_is_what_makes_many(project, tmp_path):
    """The count sees what it is there for."""
    few = calls_per_step(project, tmp_path, "--max_epochs", "3")
    assert calls_per_step(project, tmp_path, "--max_epochs", "3", "--log_every_n_steps", "1") > few + 200


STARTED = """
import os
import sys

from models.mnist import LitMNIST


class Started(LitMNIST):
    def on_train_batch_end(self, *args):
        print("modules", *sys.modules)
        sys.stdout.flush()
        os._exit(0)
"""
# Lightning and torchmetrics import scipy, rich and torchvision wherever these are installed.
UNUSED = {"sklearn", "tensorboard", "wandb", "optuna", "hydra", "plotly", "sqlalchemy"}


@pytest.mark.parametrize("sweeps", ["none", "both"])
def test_a_run_loads_no_package_that_it_does_not_use(bake, tmp_path, sweeps):
    project = bake(sweeps=sweeps)
    (project.path / "models" / "started.py").write_text(STARTED)
    result = project.python("main.py", "--model_name", "started", "--default_root_dir", str(tmp_path), cold=True)
    loaded = next(line.split() for line in result.stdout.splitlines() if line.startswith("modules"))
    assert {"torch", "pytorch_lightning"} <= set(loaded), result.stderr
    assert not UNUSED & {name.split(".")[0] for name in loaded}


BIG = """
import os

import torch

from harness.data import InMemoryData


class Big(InMemoryData):
    def load(self):
        rows = int(os.environ["ROWS"])
        x, y = torch.rand(rows, 784), torch.randint(10, (rows,))
        return {"train": (x, y), "val": (x[:64], y[:64]), "test": (x[:64], y[:64])}
"""
WEIGHED = """
from pathlib import Path

from models.my_model import MyModel


def weight(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    # Not what is mapped from files: how much of it counts depends on which other processes have them.
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))) / 1024


def family(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(family, children), [pid])


class Weighed(MyModel):
    def on_train_batch_end(self, outputs, batch, batch_idx):
        if batch_idx == 20:
            processes = family(Path("/proc/self").resolve().name)
            print("processes", len(processes))
            print("mebibytes", round(sum(map(weight, processes))))
"""
PROGRAM = """
import multiprocessing

if __name__ == "__main__":
    multiprocessing.set_start_method("START")
    import main
    from harness import app

    app.run(main.build_parser, main.main)
"""
ROWS = 4 * 16384
MEBIBYTES = ROWS * 784 * 4 / 2**20  # 196


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("start", ["fork", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_workers_share_the_data(bake, tmp_path, start):
    """All processes together take as much memory more as there are more data; what they share counts once."""
    project = bake()
    (project.path / "data" / "big.py").write_text(BIG)
    (project.path / "models" / "weighed.py").write_text(WEIGHED)
    (project.path / "weigh.py").write_text(PROGRAM.replace("START", start))
    words = ["--model_name", "weighed", "--data_name", "big", "--num_workers", "2", "--max_epochs", "1"]
    few = ["--batch_size", "16", "--limit_train_batches", "25", "--limit_val_batches", "1"]

    def weigh(rows):
        result = project.python("weigh.py", *words, *few, "--default_root_dir", str(tmp_path), ROWS=str(rows))
        assert result.returncode == 0, result.stderr
        table = dict(line.split() for line in result.stdout.splitlines() if len(line.split()) == 2)
        assert int(table["processes"]) >= 5  # two workers for training, two for validation
        return int(table["mebibytes"])

    assert 0.9 * MEBIBYTES < weigh(ROWS) - weigh(1024) < 1.5 * MEBIBYTES


LOADED = """
from pathlib import Path

from data.my_data import MyData


class Loaded(MyData):
    def load(self):
        with Path("loads").open("a") as file:
            file.write("1")
        return super().load()
"""
FLAGS = ["model_name=my_model", "data_name=loaded", "max_epochs=1", "limit_train_batches=2"]


def test_a_sweep_loads_its_data_once_for_each_worker(bake, tmp_path):
    project = bake(sweeps="both")
    (project.path / "data" / "loaded.py").write_text(LOADED)
    optuna = ["sweep_optuna.py", *(f"--{flag}" for flag in FLAGS), "--n_trials", "4"]
    hydra = ["sweep_hydra.py", "-m", *FLAGS, "learning_rate=0.1,0.2,0.3"]
    for words in (optuna, hydra):
        result = project.python(*words, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "loads").read_text() == "1"
        (tmp_path / "loads").unlink()
