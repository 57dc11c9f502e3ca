"""Lightning's private names are in one folder: without it, and on another Lightning, a project trains all the same."""

import json
import re
import shutil

import pytest

from tests.conftest import Project

SHORT = ["--limit_train_batches", "4", "--limit_val_batches", "1", "--limit_test_batches", "1"]
# Lets a process take the installed Lightning for another release.
PRETEND = """
import runpy, sys
import pytorch_lightning
pytorch_lightning.__version__ = sys.argv[1]
sys.argv = ["main.py", *sys.argv[2:]]
sys.path.insert(0, ".")
runpy.run_path("main.py", run_name="__main__")
"""


@pytest.fixture
def copy(project, tmp_path):
    """A copy of the project, which a test may change."""
    return Project(shutil.copytree(project.path, tmp_path / "copy"))


def table(result):
    """Return the last lines of a run: metrics, checkpoints, directory."""
    assert result.returncode == 0, result.stderr
    return dict(line.split() for line in result.stdout.splitlines() if len(line.split()) == 2)


def require_that_it_trains(run, project):
    """Train, resume from last.ckpt, test and predict."""
    first = table(run("--max_epochs", "1", *SHORT))
    assert {"train_loss", "val_loss", "test_loss", "best", "last", "run"} <= first.keys()
    again = table(run("--ckpt_path", first["last"], "--max_epochs", "3"))
    assert again["run"] == first["run"]
    rows = (project.path / first["run"] / "metrics.csv").read_text().splitlines()
    epoch = rows[0].split(",").index("epoch")
    assert {row.split(",")[epoch] for row in rows[1:]} >= {"0", "1", "2"}
    assert json.loads((project.path / first["run"] / "metrics.json").read_text())["val_loss"] > 0
    assert "test_loss" in table(run("test", "--ckpt_path", "best", *SHORT))
    assert "predictions" in table(run("predict", "--ckpt_path", "best"))


def test_without_the_folder_and_its_lines_a_project_trains_saves_resumes_and_tests(copy):
    shutil.rmtree(copy.path / "harness" / "lightning_2_6")
    train = copy.path / "train.py"
    lines = train.read_text().splitlines(keepends=True)
    kept = [line for line in lines if "resume_exactly" not in line]
    assert len(lines) - len(kept) == 2
    train.write_text("".join(kept))
    require_that_it_trains(lambda *argv: copy.python("main.py", *argv, "--enable_progress_bar", "no"), copy)


def test_another_minor_release_trains_with_its_own_loops_and_one_line(copy):
    def run(*argv, version="2.7.0"):
        result = copy.python("-c", PRETEND, version, *argv, "--enable_progress_bar", "no")
        notice = re.findall(r"^Lightning .* trains with its own loops: without exact resume.*$", result.stderr, re.M)
        assert len(notice) == (version == "2.7.0"), result.stderr
        return result

    require_that_it_trains(run, copy)
    assert run("--max_epochs", "1", *SHORT, version="2.6.99").returncode == 0


@pytest.mark.parametrize("model", ["mnist", "gan", "my_model"])
def test_plain_trains_every_example_with_lightnings_own_loops(copy, model):
    watched = f"""
from models.{model} import *
Base = [each for each in vars().values() if isinstance(each, type) and each.__module__ == "models.{model}"][-1]
class Watched(Base):
    def on_train_start(self):
        print("loops", type(self.trainer.fit_loop).__module__.split(".")[0])
"""
    (copy.path / "models" / "watched.py").write_text(watched)
    for words, loops in ((["--plain"], "pytorch_lightning"), ([], "harness")):
        result = copy.python("main.py", "--model_name", "watched", "--max_epochs", "1", *SHORT, *words)
        assert table(result)["loops"] == loops
        assert "own loops" not in result.stderr
    plain = sorted(copy.path.glob("runs/*"))[0]
    assert (plain / "checkpoints" / "last.ckpt").exists()
    again = copy.python("main.py", "--ckpt_path", f"{plain}/checkpoints/last.ckpt", "--max_epochs", "2", *SHORT)
    assert table(again)["loops"] == "pytorch_lightning"  # a run stays what it was


STOP = """
import glob, os, signal, threading, time

def stop():
    while not glob.glob(f"{sys.argv[-1]}/*/checkpoints/last.ckpt"):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=stop, daemon=True).start()
"""


@pytest.mark.parametrize("batches", [1, 7])
def test_a_signal_stops_a_run_with_lightnings_own_loops_at_the_end_of_a_step(copy, batches):
    """And what was saved is what fit resumes."""
    stop = PRETEND.replace("runpy.run_path", f"{STOP}runpy.run_path")
    more = ("--accumulate_grad_batches", str(batches), "--default_root_dir", f"runs-{batches}")
    result = copy.python("-c", stop, "2.7.0", "--enable_progress_bar", "no", "--max_epochs", "100000", *more)
    assert result.returncode == 143, result.stderr
    saved = re.search(r"--ckpt_path (\S+)", result.stderr.splitlines()[-1])[1]
    again = copy.python("main.py", "--ckpt_path", saved, "--max_time", "00:00:00:05", "--max_epochs", "-1")
    assert again.returncode == 0, again.stderr
