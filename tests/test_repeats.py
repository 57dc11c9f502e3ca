"""Several seeds and folds by one command, in a baked project."""

import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time

import pytest

from tests.conftest import popen

SHORT = ("--model_name", "my_model", "--max_epochs", "2", "--limit_train_batches", "4", "--enable_progress_bar", "no")
FAILS = """
from models.my_model import MyModel

class Fails(MyModel):
    def on_train_start(self):
        import os
        if os.environ["PL_GLOBAL_SEED"] == "2":
            raise ValueError("seed 2 is unlucky")
"""


def rows(folder):
    with (folder / "repeats.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_seeds_give_the_metrics_of_their_runs_with_mean_and_deviation(project, tmp_path):
    result = project.python("main.py", *SHORT, "--seeds", "1,2,3", "--workers", "2", "--run_name", "all", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "runs" / "all"
    assert [row["run"] for row in rows(folder)] == ["seed=1", "seed=2", "seed=3"]
    project.run(*SHORT, "--seed", "2", "--run_name", "alone", cwd=tmp_path)
    alone = json.loads((tmp_path / "runs" / "alone" / "metrics.json").read_text())
    second = rows(folder)[1]
    assert {name: float(second[name]) for name in alone} == alone
    values = [float(row["val_loss"]) for row in rows(folder)]
    content = json.loads((folder / "repeats.json").read_text())
    assert content["mean"]["val_loss"] == pytest.approx(statistics.mean(values))
    assert content["std"]["val_loss"] == pytest.approx(statistics.stdev(values))
    line = next(line for line in result.stdout.splitlines() if line.startswith("val_loss"))
    each = ", ".join(f"{value:.4f}" for value in values)
    assert line.split(maxsplit=1)[1] == f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f} ({each})"
    assert "seed=1: " in result.stderr
    listed = json.loads(project.python("main.py", "runs", "--json", cwd=tmp_path).stdout)
    assert {row["name"] for row in listed} == {"alone", "all/seed=1", "all/seed=2", "all/seed=3"}
    # The same command shows the same at once, and one more seed is added.
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.json")}
    again = project.python("main.py", *SHORT, "--seeds", "1,2,3,4", "--run_name", "all", cwd=tmp_path)
    assert len(rows(folder)) == 4
    assert again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # Another command does not pass for it.
    other = project.python("main.py", *SHORT, "--batch_size", "8", "--seeds", "1", "--run_name", "all", cwd=tmp_path)
    assert other.returncode == 2
    message = "runs/all holds runs with other flags: --batch_size 8 (there 64); take another --run_name"
    assert message in other.stderr.splitlines()[-1]


def test_folds_share_out_the_data(project, tmp_path):
    result = project.python("main.py", *SHORT, "--folds", "3", "--seeds", "1", "--run_name", "all", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [row["fold"] for row in rows(tmp_path / "runs" / "all")] == ["1/3", "2/3", "3/3"]
    losses = {row["val_loss"] for row in rows(tmp_path / "runs" / "all")}
    assert len(losses) == 3


def test_killed_and_given_again_it_ends_as_if_nothing_had_been(project, tmp_path):
    argv = [*SHORT[:2], "--max_epochs", "40", "--limit_train_batches", "4", "--enable_progress_bar", "no"]
    argv += ["--seeds", "1,2", "--workers", "2"]
    whole = project.python("main.py", *argv, "--run_name", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    command = [sys.executable, str(project.path / "main.py"), *argv, "--run_name", "killed"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PL_")}
    clean["OMP_NUM_THREADS"] = "1"
    for signum in (signal.SIGKILL, signal.SIGTERM):
        process = popen(
            command,
            cwd=tmp_path,
            env=clean | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if any(tmp_path.glob("runs/killed/seed=*/checkpoints/last.ckpt")):
                break
            time.sleep(0.05)
        process.send_signal(signum)
        assert process.wait(timeout=60) in (-signum, 143, 0)
    deadline = time.monotonic() + 60
    again = None
    while time.monotonic() < deadline:  # runs of a killed process save before they end
        again = project.python("main.py", *argv, "--run_name", "killed", cwd=tmp_path)
        if again.returncode == 0:
            break
        time.sleep(0.5)
    assert again.returncode == 0, again.stderr
    assert rows(tmp_path / "runs" / "killed") == rows(tmp_path / "runs" / "whole")


def test_a_run_that_fails_is_named_and_the_others_are_finished(bake, tmp_path):
    project = bake(project_slug="failing")
    (project.path / "models" / "fails.py").write_text(FAILS)
    argv = ["--model_name", "fails", *SHORT[2:], "--seeds", "1,2,3", "--run_name", "all"]
    result = project.python("main.py", *argv, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("main.py: error: seed=2 failed: main.py: error: ")
    assert "seed 2 is unlucky" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert [row["run"] for row in rows(tmp_path / "runs" / "all")] == ["seed=1", "seed=3"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--seeds", "1,1"], "'1,1' has a seed twice"),
        (["--seeds", "1,x"], "'x' is not an integer"),
        (["--folds", "1"], "'1' is not at least 2"),
        (["--workers", "2"], "--workers is for --seeds or --folds"),
        (["test", "--ckpt_path", "none", "--seeds", "1,2"], "repeat a fit from its beginning"),
        (["--model_name", "gan", "--data_name", "rows", "--folds", "2"], "--folds needs data with the flag --fold"),
        (["--fold", "3/2"], "'3/2' is not a fold"),
    ],
)
def test_what_cannot_be_repeated_is_one_line(bake, tmp_path, argv, message):
    project = bake(project_slug="not-repeated")
    text = "import pytorch_lightning as pl\nclass Rows(pl.LightningDataModule):\n    pass\n"
    (project.path / "data" / "rows.py").write_text(text)
    result = project.python("main.py", *argv, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_the_flags_of_repetitions_are_not_those_of_a_config_file(project, tmp_path):
    printed = project.python("main.py", "--print_config", "--seeds", "1,2", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert "seeds" not in printed.stdout
    assert "batch_size: 64" in printed.stdout
    schema = json.loads(project.python("main.py", "--print_schema", cwd=tmp_path).stdout)
    assert {"seed", "fold"} <= schema["properties"].keys()
    assert not {"seeds", "folds", "workers"} & schema["properties"].keys()
