"""``main.py runs``, and the run.json that it reads."""

import json
import re
import shutil
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from time import monotonic, perf_counter

import pytest

from harness import found
from harness.config_files import dump_config, parse_config
from harness.history.entries import read_entry
from harness.runs import record
from tests.conftest import TEMPLATE
from tests.harness.program import main

QUIET = ("--enable_progress_bar", "no", "--enable_model_summary", "no", "--accelerator", "cpu", "--max_epochs", "1")
LIMITS = ("--limit_train_batches", "2", "--limit_val_batches", "1", "--limit_test_batches", "1")
FIT = (*QUIET, *LIMITS, "--model_name", "my_model", "--data_name", "digits")


@pytest.fixture
def refused(capsys):
    """Return a function that gives the line with which a command line is refused."""

    def run(*argv):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        return err.splitlines()[-1]

    return run


@pytest.fixture
def printed(capsys):
    """Return a function that gives the output of a command line."""

    def run(*argv):
        capsys.readouterr()
        main(argv)
        return capsys.readouterr().out

    return run


@pytest.fixture
def listed(printed):
    """Return a function that gives the runs of a table by name, as JSON has them."""
    return lambda *words: {each["name"]: each for each in json.loads(printed("runs", "--json", *words))}


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch):
    monkeypatch.setattr(record.Git, "known", None)


def made(name, *, metrics=None, state=None, error=None, best=False, rows=(), folder="runs", **flags):
    """Make the directory of a run as one leaves it."""
    run_dir = Path(folder, name)
    run_dir.mkdir(parents=True)
    (run_dir / ".lock").touch()
    plain = {"command": "fit", "seed": 0, "monitor": None, "tags": None, "model_name": "mnist", "data_name": "digits"}
    (run_dir / "config.yaml").write_text(f"# To repeat this run: ...\n{dump_config({**plain, **flags})}")
    if metrics is not None:
        (run_dir / "metrics.json").write_text(json.dumps(metrics))
    if state is not None:
        content = {"state": state, "error": error, "monitor": "val_loss", "monitor_mode": "min"}
        (run_dir / "run.json").write_text(json.dumps({**content, "begin": "2026-01-01T00:00:00+00:00"}))
    if best:
        (run_dir / "checkpoints").mkdir()
        (run_dir / "checkpoints" / "best.ckpt").touch()
    if rows:
        (run_dir / "metrics.csv").write_text("\n".join(["epoch,step,train_loss,val_loss", *rows, ""]))
    return run_dir


HOLDER = """
import sys, time
from pathlib import Path
from harness.runs.run import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def held():
    """Return a function that lets another process hold the lock of a run."""
    processes = []

    def hold(run_dir):
        command, path = (
            [sys.executable, "-c", HOLDER, str(run_dir)],
            {"PYTHONPATH": str(TEMPLATE), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=path))
        assert processes[-1].stdout.readline() == "held\n"

    yield hold
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_real_runs_in_a_table(printed, listed):
    main([*FIT, "--run_name", "base", "--tags", "first, try", "--notes", "a: 'b'\nc"])
    main([*FIT, "--run_name", "again", "--learning_rate", "0.5", "--model_name", "my_model"])
    lines = printed("runs").splitlines()
    assert lines[0].split() == ["name", "state", "model", "data", "epoch", "metric", "age"]
    assert [line.split()[0] for line in lines[1:]] == ["again", "base"]
    assert re.fullmatch(r"again +finished  my_model  digits  1 +val_loss [\d.]+ +\d+ s", lines[1])
    metrics = json.loads(Path("runs/base/metrics.json").read_text())
    base = listed("--where", "tag=first")["base"]
    assert base["metrics"] == metrics
    assert base["metric"] == metrics["val_loss"]
    assert (base["tags"], base["notes"]) == (["first", "try"], "a: 'b'\nc")
    assert parse_config(Path("runs/base/config.yaml").read_text())["tags"] == "first,try"
    assert listed("--where", "tag!=first", "learning_rate=.5").keys() == {"again"}
    shown = printed("runs", "show", "base")
    for text in ("7850", "best.ckpt", "test_accuracy", "learning_rate", "first,try", "a: 'b' c"):
        assert text in shown
    lines = [line.split() for line in printed("runs", "diff", "base", "runs/again").splitlines()]
    differs = {words[1]: words[2:] for words in lines[1:]}
    assert differs["learning_rate"] == ["0.01", "0.5"]
    assert "val_loss" in differs
    assert not {"seed", "commit", "torch"} & differs.keys()
    best = min(("base", "again"), key=lambda name: listed()[name]["metric"])
    assert printed("runs", "best", "val_loss") == f"runs/{best}/checkpoints/best.ckpt\n"


def test_the_record_of_a_run():
    main([*FIT, "--run_name", "base", "--seed", "3"])
    content = json.loads(Path("runs/base/run.json").read_text())
    import numpy
    import pytorch_lightning
    import torch

    assert content["packages"] == {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "pytorch-lightning": pytorch_lightning.__version__,
        "numpy": numpy.__version__,
    }
    assert (content["state"], content["error"], content["seed"]) == ("finished", None, 3)
    assert (content["monitor"], content["monitor_mode"], content["parameters"]) == ("val_loss", "min", 7850)
    assert content["begin"] <= content["end"]
    assert content["command_line"].startswith("python main.py")


LATE = """
import torch

class Late(MyModel):
    def configure_model(self):
        if not hasattr(self, "first"):
            self.first = torch.nn.LazyLinear(5)
            self.layer = torch.nn.Linear(5, 10)
            self.layer.bias.requires_grad = False

    def forward(self, x):
        return self.layer(self.first(x.flatten(1)))
"""


def test_layers_that_are_made_late_are_counted(root, printed):
    shutil.copy(TEMPLATE / "data" / "digits.py", "data/own.py")
    shutil.copy(TEMPLATE / "data" / "digits.npz", "data/own.npz")
    Path("models/late.py").write_text((TEMPLATE / "models" / "my_model.py").read_text() + LATE)
    main([*QUIET, *LIMITS, "--model_name", "late", "--data_name", "own", "--run_name", "base"])
    main(["validate", "--ckpt_path", "best", "--enable_progress_bar", "no"])
    numbers = {"parameters": 784 * 5 + 5 + 50 + 10, "trainable_parameters": 784 * 5 + 5 + 50}
    for path in Path("runs").iterdir():
        assert json.loads((path / "run.json").read_text()).items() >= numbers.items(), path
    shown = printed("runs", "show", "base").splitlines()
    for name, number in numbers.items():
        assert f"  {name:<25} {number}" in shown


def test_gpus_are_named_where_the_run_has_touched_one(monkeypatch):
    import torch

    assert begun()["gpus"] == []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", "NVIDIA H100 {}".format)
    assert begun()["gpus"] == ["NVIDIA H100 0", "NVIDIA H100 1"]


def git(*words, folder):
    identity = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    command = ["git", *identity, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one file, in which the project is said to be."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git("init", "-q", "-b", "trunk", folder=folder)
    (folder / "code.py").write_text("one\n")
    git("add", ".", folder=folder)
    git("commit", "-q", "-m", "first", folder=folder)
    monkeypatch.setattr(found, "ROOT", folder)
    return folder


def begun(run_dir="run"):
    """Return the run.json of a run that begins in a process of its own."""
    record.Git.known = None
    Path(run_dir).mkdir(exist_ok=True)
    record.write_begin(Path(run_dir), Namespace(), record.Git(), {})
    return record.read_record(Path(run_dir))


@pytest.fixture
def _git_may_take_long(monkeypatch):
    monkeypatch.setattr(record, "GIT_TIME", 10)


@pytest.mark.usefixtures("_git_may_take_long")
def test_commit_branch_and_patch(repository):
    head = git("rev-parse", "HEAD", folder=repository)
    clean = begun()
    assert (clean["commit"], clean["branch"], clean["dirty"]) == (head, "trunk", False)
    assert not Path("run/uncommitted.patch").exists()
    (repository / "code.py").write_text("two\n")
    (repository / "picture").write_bytes(bytes(range(256)))
    git("add", "picture", folder=repository)
    assert begun()["dirty"]
    patch = Path("run/uncommitted.patch").resolve()
    git("reset", "-q", "--hard", folder=repository)
    git("apply", str(patch), folder=repository)
    assert (repository / "code.py").read_text() == "two\n"
    assert (repository / "picture").read_bytes() == bytes(range(256))
    git("reset", "-q", "--hard", folder=repository)
    git("clean", "-qf", folder=repository)
    assert not begun()["dirty"]
    assert not patch.exists()


@pytest.mark.usefixtures("_git_may_take_long")
def test_a_large_patch_is_left_out(repository):
    (repository / "code.py").write_text("line\n" * 300_000)
    assert begun()["dirty"]
    assert not Path("run/uncommitted.patch").exists()


@pytest.mark.usefixtures("_git_may_take_long")
def test_a_new_file_makes_the_code_dirty(repository):
    (repository / "new.py").touch()
    assert begun()["dirty"]


@pytest.mark.usefixtures("_git_may_take_long")
def test_a_repository_without_a_commit(repository):
    shutil.rmtree(repository / ".git")
    git("init", "-q", "-b", "trunk", folder=repository)
    assert {name: begun()[name] for name in ("commit", "branch", "dirty")} == {
        **{"commit": None, "branch": None, "dirty": True}
    }


UNKNOWN = {"commit": None, "branch": None, "dirty": None}


def test_without_a_repository_nothing_is_known(repository, monkeypatch):
    shutil.rmtree(repository / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository.parent))
    assert begun().items() >= UNKNOWN.items()


def test_without_git_nothing_is_known(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert begun().items() >= UNKNOWN.items()


def test_a_slow_git_does_not_hold_up_a_start(repository, monkeypatch, tmp_path):
    (tmp_path / "git").write_text(f"#!{sys.executable}\nimport time; time.sleep(30)\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    record.Git.known = None
    reader = record.Git()
    start = monotonic()
    code, patch = reader.read()
    assert monotonic() - start < 15  # where git takes 30 s
    assert (code, patch) == (UNKNOWN, b"")


@pytest.mark.usefixtures("_git_may_take_long")
def test_runs_in_quick_succession_ask_git_once_and_have_one_patch(repository, monkeypatch):
    (repository / "code.py").write_text("two\n")
    first = begun("one")
    monkeypatch.setenv("PATH", "")  # no git from here on
    Path("two").mkdir()
    record.write_begin(Path("two"), Namespace(), record.Git(), {})
    second = record.read_record(Path("two"))
    assert second["commit"] == first["commit"] is not None
    assert second["patch"] == first["patch"] == str(Path("one/uncommitted.patch").absolute())
    assert not Path("two/uncommitted.patch").exists()


def test_no_variable_of_the_environment_is_written(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2hunter2")
    main([*FIT, "--run_name", "base"])
    for name in ("run.json", "config.yaml"):
        text = Path("runs/base", name).read_text()
        assert "hunter2" not in text
        assert "SECRET" not in text


def test_a_run_that_resumes_keeps_its_earlier_starts():
    main([*FIT, "--run_name", "base", "--tags", "a"])
    main(["--ckpt_path", "last", "--max_epochs", "2", "--enable_progress_bar", "no"])
    content = json.loads(Path("runs/base/run.json").read_text())
    assert [each["state"] for each in content["earlier"]] == ["finished"]
    assert (content["state"], content["tags"]) == ("finished", ["a"])


def test_a_search_before_training_begins_no_other_run():
    main([*FIT, "--run_name", "base", "--auto_lr_find"])
    content = json.loads(Path("runs/base/run.json").read_text())
    assert (content["earlier"], content["state"]) == ([], "finished")
    assert content["commit"] == git("rev-parse", "HEAD", folder=TEMPLATE)


def test_a_start_that_is_refused_leaves_the_record_of_the_run():
    main([*FIT, "--run_name", "base"])
    before = Path("runs/base/run.json").read_bytes()
    for words in ([*FIT, "--run_name", "base"], ["--ckpt_path", "last"], ["--ckpt_path", "last", "--max_epochs", "0"]):
        with pytest.raises(SystemExit):
            main(words)
    assert Path("runs/base/run.json").read_bytes() == before


ENDS = """
import os, signal

class Ends(MyModel):
    def training_step(self, batch, batch_idx):
        if batch_idx == 1:
            {}
        return super().training_step(batch, batch_idx)
"""


@pytest.mark.parametrize(
    ("line", "state", "error"),
    [
        ("raise KeyError('x')", "failed", "models/ends.py fails in training_step: KeyError: 'x'"),
        ("return super().training_step(batch, batch_idx) * float('nan')", "failed", "RunError: the loss is not finite"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "stopped", ""),
    ],
)
def test_a_run_that_fails_or_stops(root, listed, line, state, error):
    shutil.copy(TEMPLATE / "data" / "digits.py", "data/own.py")
    shutil.copy(TEMPLATE / "data" / "digits.npz", "data/own.npz")
    Path("models/ends.py").write_text((TEMPLATE / "models" / "my_model.py").read_text() + ENDS.format(line))
    with pytest.raises(SystemExit):
        main([*QUIET, *LIMITS, "--model_name", "ends", "--data_name", "own", "--run_name", "base"])
    base = listed()["base"]
    assert base["state"] == state
    assert base["error"].startswith(error)
    content = json.loads(Path("runs/base/run.json").read_text())
    assert (content["state"], bool(content["end"])) == (state, True)


def test_every_state(listed, held, printed):
    made("finished", metrics={"val_loss": 0.1})
    made("failed")
    Path("runs/failed/error.txt").write_text("Traceback\n  x\nKeyError: '\x1b[31mx'\n\n")
    made("not_finite", state="failed", error="RunError: the loss is not finite")
    killed = made("killed", state="running", rows=["0,9,0.5,", "0,9,,0.25", "1,19,0.4,", "1,19,,0.75"])
    with (killed / "metrics.csv").open("a") as file:
        file.write("2,2")
    made("predicted", state="finished", command="predict")
    made("old")
    made("running", state="running")
    held("runs/running")
    found = listed()
    assert {name: each["state"] for name, each in found.items()} == {
        **{"finished": "finished", "failed": "failed", "not_finite": "failed", "killed": "stopped"},
        **{"predicted": "finished", "old": "stopped", "running": "running"},
    }
    assert found["not_finite"]["error"] == "RunError: the loss is not finite"
    assert (found["killed"]["epoch"], found["killed"]["metric"]) == (1, 0.25)  # the best; a row is being written
    assert found["killed"]["metrics"] == {"train_loss": 0.4, "val_loss": 0.25}
    assert "\x1b" not in printed("runs")
    assert "KeyError: ' [31mx'" in printed("runs")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.yaml", b"\xff\xfe\x00"),
        ("config.yaml", b"command: fit\nseed: 0\nmod"),
        ("config.yaml", b"[1, 2"),
        ("config.yaml", b""),
        ("config.yaml", None),
        ("metrics.json", b'{"val_loss": '),
        ("metrics.json", b"[]"),
        ("metrics.json", b'{"val_loss": {}}'),
        ("run.json", b"null"),
        ("run.json", b'{"begin": 3}'),
        ("run.json", b'{"begin": "yesterday"}'),
        ("run.json", b'{"monitor": ["x"]}'),
        ("run.json", b'{"packages": "x"}'),
        ("run.json", b'{"earlier": [3]}'),
        ("run.json", b"[" * 100_000),
        ("metrics.csv", b"\xff\xfe,epoch\n1,2\n,,,,,\n"),
        ("checkpoints/best.ckpt", b""),
    ],
)
def test_a_damaged_run_breaks_nothing(listed, printed, capsys, file, content):
    """It is listed as what it is, and can be shown and removed."""
    made("sound", metrics={"val_loss": 0.5}, state="finished", best=True)
    path = made("broken", metrics={"val_loss": 0.1}, state="finished") / file
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if content is None else path.write_bytes(content)
    found = listed()
    is_sound = file in ("metrics.csv", "checkpoints/best.ckpt")  # whatever is in them
    assert {name: each["state"] for name, each in found.items()} == {
        **{"sound": "finished", "broken": "finished" if is_sound else "damaged"}
    }
    assert is_sound == (not found["broken"]["error"])
    printed("runs", "--all", "--sort", "val_loss", "--where", "state!=running")
    printed("runs", "best", "val_loss")
    assert "broken" in printed("runs", "show", "broken")
    printed("runs", "diff", "sound", "broken")
    main(["runs", "rm", "broken", "--yes"])
    assert listed().keys() == {"sound"}


def test_what_is_no_run_is_not_listed(printed):
    assert printed("runs") == "there is no run below runs\n"
    Path("runs/lightning_logs").mkdir(parents=True)
    Path("runs/.hidden").mkdir()
    Path("runs/.hidden/config.yaml").touch()
    Path("runs/file").touch()
    assert printed("runs") == "there is no run below runs\n"
    assert printed("runs", "--json") == "[]\n"


def test_trials_and_jobs_are_listed_with_all(listed, printed):
    made("base", metrics={"val_loss": 0.3}, state="finished", best=True)
    made("sweeps/net/trials/0003", metrics={"val_loss": 0.2}, state="finished", best=True)
    made("sweeps/net/trials/0003/test", metrics={"test_loss": 0.2})
    made("multirun/2026/0", metrics={"val_loss": 0.4})
    made("multirun/2026/deep/er=1", metrics={"val_loss": 0.4})
    made("hydra/2026", metrics={"val_loss": 0.4})
    Path("runs/multirun/2026/.hydra").mkdir()
    Path("runs/multirun/2026/.hydra/config.yaml").touch()
    assert listed().keys() == {"base", "hydra/2026"}
    others = {"sweeps/net/trials/0003", "multirun/2026/0", "multirun/2026/deep/er=1"}
    assert listed("--all").keys() == {"base", "hydra/2026"} | others
    assert printed("runs", "best", "val_loss") == "runs/sweeps/net/trials/0003/checkpoints/best.ckpt\n"
    assert "0.2" in printed("runs", "show", "sweeps/net/trials/0003")


@pytest.fixture
def _three():
    """Three runs that differ."""
    made("one", metrics={"val_loss": 0.1, "val/f1": 9.0}, tags="a,b", width=8, dims=[1, 2], on=True, note="x: y")
    made("two", metrics={"val_loss": 0.05}, tags="b", model_name="gan", width=16, on=False, note="it's #1")
    made("three", rows=["0,9,0.5,nan"], width=1e-3, note="word " * 40 + "end")


@pytest.mark.usefixtures("_three")
@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (["val_loss<0.1"], {"two"}),
        (["val_loss <= 1e-1"], {"one", "two"}),
        (["val_loss>0"], {"one", "two"}),
        (["val_loss=0.10"], {"one"}),
        (["val/f1>=9"], {"one"}),
        (["model_name=gan"], {"two"}),
        (["model=gan"], {"two"}),
        (["model!=gan"], {"one", "three"}),
        (["tag=a"], {"one"}),
        (["tag!=a"], {"two", "three"}),
        (["tag=b", "width>8"], {"two"}),
        (["width==0.001"], {"three"}),
        (["tags=none"], {"three"}),
        (["dims=1,2"], {"one"}),
        (["on=yes"], {"one"}),
        (["on=false"], {"two"}),
        (["note=x: y"], {"one"}),
        (["note=it's #1"], {"two"}),
        (["state=finished", "seed=0"], {"one", "two"}),
        (["age>=0"], {"one", "two", "three"}),
        (["name=three"], {"three"}),
        (["train_loss=0.5"], {"three"}),
        (["width=word"], set()),
    ],
)
def test_where_selects(listed, conditions, names):
    assert listed("--where", *conditions).keys() == names


@pytest.mark.usefixtures("_three")
@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("val_loss", ["two", "one", "three"]),
        ("-val_loss", ["one", "two", "three"]),
        ("name", ["one", "three", "two"]),
        ("-width", ["two", "one", "three"]),
        ("train_loss", ["three", "two", "one"]),
    ],
)
def test_sort(listed, column, names):
    assert list(listed("--sort", column)) == names
    assert list(listed(f"--sort={column}")) == names


@pytest.mark.usefixtures("_three")
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--where", "val_los<1"], "--where val_los<1: no run has val_los, did you mean val_loss?"),
        (["--where", "val_loss"], "--where val_loss: write NAME=VALUE, with one of = != < <= > >=, in quotes"),
        (["--where", "val_loss<low"], "--where val_loss<low: 'low' is not a number"),
        (["--sort", "-widht"], "--sort -widht: no run has widht, did you mean width?"),
        (["--soort", "x"], "unknown flag --soort"),
        (["shwo"], "'shwo' is no command: the first word may be show, diff, plot, best or rm; did you mean show?"),
        (["show"], "the following arguments are required: NAME"),
        (["show", "tow"], "there is no run tow below runs; did you mean two?"),
        (["diff", "one"], "the following arguments are required: NAME"),
        (["diff", "one", "x"], "there is no run x below runs"),
        (["best", "val_loss"], "best val_loss: no run below runs has it and a best.ckpt"),
        (["--where", "tag<3"], "--where tag<3: no run has tag"),
        (["best", "val_los", "--mode", "max"], "best: no run has val_los, did you mean val_loss?"),
        (["best", "val_loss", "--mode", "max"], "best val_loss: no run below runs has it and a best.ckpt"),
        (["rm", "one"], "without a terminal rm needs --yes"),
        (["rm", "one", "x", "--yes"], "there is no run x below runs"),
        (["rm", ".", "--yes"], "there is no run . below runs"),
        (["rm", "../elsewhere/run", "--yes"], "is not below runs: name its folder with --default_root_dir"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(refused, argv, message):
    made("run", folder="elsewhere")
    before = sorted(Path().rglob("*"))
    assert message in refused("runs", *argv)
    assert sorted(Path().rglob("*")) == before


def test_the_mode_is_that_of_the_runs_that_monitor_the_metric(printed, refused):
    for name, value in (("low", 0.1), ("high", 0.9), ("none", float("nan"))):
        made(name, metrics={"f1": value, "val_loss": 1}, monitor="f1", monitor_mode="max", best=True)
    made("unsaved", metrics={"f1": 1.0}, monitor="f1", monitor_mode="max")
    assert printed("runs", "best", "f1") == "runs/high/checkpoints/best.ckpt\n"
    assert printed("runs", "best", "f1", "--mode", "min") == "runs/low/checkpoints/best.ckpt\n"
    assert "runs do not say which is better: add --mode min" in refused("runs", "best", "val_loss")
    made("other", metrics={"f1": 0.5}, monitor="f1", monitor_mode="min", best=True)
    assert "add --mode" in refused("runs", "best", "f1")


def test_the_best_checkpoint_may_be_of_a_run_that_was_stopped(printed):
    made("finished", metrics={"val_loss": 0.3}, state="finished", best=True)
    made("stopped", state="running", best=True, rows=["0,9,,0.2", "1,19,,0.4"])
    assert printed("runs", "best", "val_loss") == "runs/stopped/checkpoints/best.ckpt\n"


def test_rm_asks_on_a_terminal(printed, monkeypatch):
    for name in ("one", "two", "three"):
        made(name)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter(["", "n", "y"])
    asked = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or next(answers))
    for _ in range(2):
        assert printed("runs", "rm", "one", "two") == "nothing is removed\n"
    assert printed("runs", "rm", "one", "two", "one") == "runs/one is removed\nruns/two is removed\n"
    assert asked[0] == "remove one, two? [y/N] "
    assert [path.name for path in Path("runs").iterdir()] == ["three"]


def test_a_running_run_is_not_removed(refused, held):
    made("one")
    made("two")
    held("runs/two")
    assert "two is running: stop it first" in refused("runs", "rm", "one", "two", "--yes")
    assert Path("runs/one/config.yaml").exists()


def test_the_folder_is_that_of_the_environment_or_the_flag(listed, monkeypatch):
    made("here", folder="elsewhere")
    assert listed("--default_root_dir", "elsewhere").keys() == {"here"}
    monkeypatch.setenv("PL_TRAINER_DEFAULT_ROOT_DIR", "elsewhere")
    assert listed().keys() == {"here"}


def test_numbers_that_json_lacks_are_null(printed):
    made("one", metrics={"val_loss": float("nan"), "best": float("inf")})
    (one,) = json.loads(printed("runs", "--json"), parse_constant=pytest.fail)
    assert one["metrics"] == {"val_loss": None, "best": None}


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, -1, 1e-3, 1e22, float("inf"), [], ["a"], [1, None]),
        *[
            "a",
            "null",
            "~",
            "Null",
            "yes",
            "1",
            "1e3",
            "0:8",
            "-",
            "-a",
            "--",
            "#a",
            "it's",
            "'",
            '"',
            "é",
            "?",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "[a",
            "{a",
            "a]",
            ",a",
            "|",
            ">",
            "=",
            "<<",
            ".",
            "..",
            "./a-b_c",
        ],
        *["+1", "2026-01-01", "...", "a:", ":a", "Infinity", ".nan"],
        *("", " ", "- a", "a b", " a", "a ", "a: b", "a #b", "--- a", "a\nb", "a\n\nb: c", "a\tb", "\u2028", "\x85"),
        *(
            "x" * 200,
            "w " * 99,
            "w " * 99 + "it's",
            "a - b",
            "a -",
            "a,b",
            "a, b",
            "http://a/b",
            "a=b (50%)",
            "first: second: third",
        ),
    ],
)
def test_a_flag_is_read_as_yaml_reads_it(value):
    """Whether from its one line or by the parser."""
    entry = read_entry(made("one", first=value, last_of_all=value), "one")
    assert (entry.flag("first"), entry.flag("last_of_all")) == (entry.flags()["first"], entry.flags()["last_of_all"])
    assert entry.flag("absent") is None


def test_a_thousand_runs_are_listed_almost_as_fast_as_one():
    def seconds():
        start = perf_counter()
        return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()), (
            perf_counter() - start
        )

    command = [sys.executable, TEMPLATE / "main.py", "runs", "--sort", "val_loss", "--where", "seed=0", "val_loss>=0"]
    made("first", metrics={"val_loss": 1}, state="finished", best=True, rows=["1,1,0.5,1"], notes="it's: one")
    one = min(seconds()[1] for _ in range(3))
    for number in range(1000):
        rows = [f"{number},{number},0.5,{number / 7}" for number in range(100)]
        state = "finished" if number % 3 else "running"
        metrics = {"val_loss": number} if number % 3 else None
        made(f"run_{number}", metrics=metrics, state=state, best=True, rows=rows, notes="it's: one")
    lines, thousand = min(seconds() for _ in range(3))
    assert lines == 1002
    assert thousand < 15 * one  # 4 times, where nothing else runs; a parser of YAML would take 200 times


@pytest.mark.parametrize("words", [[], ["--json"], ["show", "one"], ["diff", "one", "two"], ["best", "val_loss"]])
def test_nothing_needs_torch(words):
    for name in ("one", "two"):
        made(name, metrics={"val_loss": 0.1}, state="finished", best=True)
    script = f"import sys; sys.path.insert(0, {str(TEMPLATE)!r}); import main; from harness import app\n"
    script += f"app.run(main.build_parser, main.main, {['runs', *words]})\n"
    script += "print(sorted({'torch', 'numpy', 'pytorch_lightning', 'yaml'} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    needed = "['yaml']" if words[:1] in (["show"], ["diff"]) else "[]"
    assert result.stdout.splitlines()[-1] == needed


def test_a_pipe_that_closes_early_is_no_error():
    for number in range(300):
        made(f"{number:0100}")
    command = f"{sys.executable} '{TEMPLATE}/main.py' runs | head -n 1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (result.stdout.splitlines()[-1], result.stderr) == ("0", "")


def test_a_listing_leaves_the_signals_as_they_are(printed):
    before = signal.getsignal(signal.SIGINT)
    printed("runs")
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("tags", ["", "a,,b", "a b", "a;b", ","])
def test_tags_are_words(refused, tags):
    assert "is no list of words such as a,b" in refused(*FIT, f"--tags={tags}")
