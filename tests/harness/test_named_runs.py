"""Runs with names, and one command line that starts, resumes or shows a run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.runs.run import locked
from main import parse_args
from tests.harness.program import main
from train import train

QUIET = ("--enable_progress_bar", "no", "--enable_model_summary", "no", "--accelerator", "cpu")
LIMITS = ("--limit_train_batches", "2", "--limit_val_batches", "1", "--limit_test_batches", "1")
MODEL = ("--model_name", "my_model", "--data_name", "digits")
BASE = (*QUIET, *LIMITS, *MODEL, "--run_name", "base")
AUTO = (*BASE, "--ckpt_path", "auto")


def refused(capsys, *argv):
    """Return the line with which a command line is refused."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def rows():
    return Path("runs/base/metrics.csv").read_text().splitlines()


def test_a_name_is_that_of_the_directory():
    main([*BASE, "--max_epochs", "1"])
    assert [path.name for path in Path("runs").iterdir()] == ["base"]


def test_a_run_without_a_name_has_its_kind_in_the_directory():
    main([*QUIET, *MODEL, "--fast_dev_run"])
    main(["test", "--ckpt_path", "none", *QUIET, *MODEL, *LIMITS])
    names = sorted(path.name.split("_", 2)[2] for path in Path("runs").iterdir())
    assert names == ["my_model_fast_dev_run", "my_model_test"]


def test_a_name_is_used_once(capsys):
    main([*BASE, "--max_epochs", "1"])
    before = rows()
    line = refused(capsys, *BASE, "--max_epochs", "1")
    assert "runs/base holds a run already: resume it with --ckpt_path auto, or take another name" in line
    assert rows() == before


@pytest.mark.parametrize("name", ["a/b", "..", "", "-x", "a b", "x" * 101, ".hidden", "é", "x."])
def test_a_name_that_is_no_directory_anywhere_is_refused(capsys, name):
    assert "is no name for a directory" in refused(capsys, *QUIET, f"--run_name={name}")
    assert not Path("runs").exists()


@pytest.mark.parametrize("argv", [["--ckpt_path", "auto"], ["test", "--run_name", "base", "--ckpt_path", "auto"]])
def test_auto_is_for_fit_in_a_named_run(capsys, argv):
    assert "--ckpt_path auto starts or resumes fit, in the directory of --run_name NAME" in refused(capsys, *argv)


def test_the_same_line_starts_shows_and_goes_on(capsys):
    main([*AUTO, "--max_epochs", "1"])
    first = capsys.readouterr().out
    before = {path: path.read_bytes() for path in Path("runs/base").rglob("*") if path.is_file()}
    main([*AUTO, "--max_epochs", "1"])
    assert capsys.readouterr().out == first
    assert {path: path.read_bytes() for path in Path("runs/base").rglob("*") if path.is_file()} == before
    main([*AUTO, "--max_epochs", "2"])
    assert json.loads(Path("runs/base/metrics.json").read_text()) != json.loads(before[Path("runs/base/metrics.json")])
    assert [path.name for path in Path("runs").iterdir()] == ["base"]


def test_a_finished_run_without_checkpoints_is_shown(capsys):
    main([*AUTO, "--max_epochs", "1", "--enable_checkpointing", "no"])
    first = capsys.readouterr().out
    main([*AUTO, "--max_epochs", "1", "--enable_checkpointing", "no"])
    assert capsys.readouterr().out == first
    assert "test_accuracy" in first


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again():
    """And files of the user's own stay."""
    main([*AUTO, "--max_epochs", "1"])
    expected = rows()
    run = Path("runs/base")
    (run / "metrics.json").unlink()
    for path in run.glob("checkpoints/*"):
        path.unlink()
    (run / "notes.txt").write_text("mine")
    main([*AUTO, "--max_epochs", "1"])
    assert rows() == expected
    assert (run / "notes.txt").read_text() == "mine"


def test_the_flags_of_a_named_run_repeat_it_under_another_name(capsys):
    main([*AUTO, "--max_epochs", "1"])
    first = capsys.readouterr().out
    main(["--config", "runs/base/config.yaml"])
    assert re.sub(r"runs/\S+", "", capsys.readouterr().out) == re.sub(r"runs/\S+", "", first)
    main(["--config", "runs/base/config.yaml", "--run_name", "again"])
    assert rows() == Path("runs/again/metrics.csv").read_text().splitlines()
    assert len(list(Path("runs").iterdir())) == 3


def test_from_python_a_name_is_that_of_the_directory():
    train(parse_args([*AUTO, "--max_epochs", "1"]))
    assert Path("runs/base/metrics.json").exists()


HOLDER = """
import sys, time
from pathlib import Path
from harness.runs.run import locked
with locked(Path(sys.argv[1])), locked(Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(100)
"""


def test_the_newest_run_is_refused_where_several_are_under_way(capsys):
    for name in ("one", "two", "three"):
        main([*QUIET, *LIMITS, *MODEL, "--run_name", name, "--max_epochs", "1"])
    command = [sys.executable, "-c", HOLDER, "runs/one", "runs/two"]
    root = str(Path(sys.modules["main"].__file__).parent)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": root}) as holder:
        assert holder.stdout.readline() == "held\n"
        line = refused(capsys, "test", "--ckpt_path", "best")
        holder.kill()
    assert "several runs are under way (runs/two, runs/one): name the file of one" in line
    main(["test", "--ckpt_path", "best", *QUIET])


def test_a_sweep_has_another_name(capsys):
    from sweep_program import main as sweep

    with pytest.raises(SystemExit):
        sweep([*MODEL, "--n_trials", "1", "--run_name", "base"])
    assert "--run_name names one run: the name of a sweep is --study_name" in capsys.readouterr().err


ASKS = """
import sys
from pathlib import Path
from harness.runs.run import is_locked
while True:
    is_locked(Path(sys.argv[1]))
"""


def test_who_asks_for_the_state_of_a_run_does_not_keep_it_from_starting():
    Path("run").mkdir()
    (Path("run") / ".lock").touch()
    root = str(Path(sys.modules["main"].__file__).parent)
    with subprocess.Popen([sys.executable, "-c", ASKS, "run"], env=os.environ | {"PYTHONPATH": root}) as asking:
        try:
            for _ in range(300):
                with locked(Path("run")):
                    pass
        finally:
            asking.kill()
