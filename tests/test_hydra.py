"""Hydra in a baked project: the same metrics by every way to a run, launchers, failures, Slurm, studies of Optuna."""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import missing_server, popen
from tests.slurm_node import slurm_node, why_not

SHORT = ("max_epochs=2", "limit_train_batches=5", "limit_val_batches=2", "limit_test_batches=2")
SAME = ("--max_epochs", "2", "--limit_train_batches", "5", "--limit_val_batches", "2", "--limit_test_batches", "2")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
KILLER = """
import os
import signal

from models.mnist import LitMNIST


class Killer(LitMNIST):
    def on_train_epoch_end(self):
        if self.hparams.layer_1_dim == 7:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def project(bake):
    """A project with Optuna and Hydra, a model that is killed if its first layer has 7 units, and slips in conf/."""
    project = bake(project_slug="hydras", sweeps="both")
    (project.path / "models" / "killer.py").write_text(KILLER)
    (project.path / "conf" / "experiment" / "block.yaml").write_text("max_epochs: 1\nhydra:\n  verbose: true\n")
    (project.path / "conf" / "size").mkdir()
    (project.path / "conf" / "size" / "small.yaml").write_text("layer_1_dim: 8\n")
    return project


def hydra(project, *argv, status=0, **kwargs):
    """Run sweep_hydra.py, which must end with a status."""
    result = project.python("sweep_hydra.py", *argv, **kwargs)
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


def metrics(folder):
    """Return the metrics of the one run below a folder; that of a trial may have been tested afterwards."""
    (file,) = [file for file in folder.rglob("metrics.json") if file.parent.name != "test"]
    return json.loads(file.read_text())


def table(folder):
    """Return the rows of the table of a multirun."""
    with (folder / "jobs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_has_the_same_metrics_by_main_by_optuna_and_by_hydra(project, tmp_path):
    by_main = tmp_path / "main"
    project.run(
        *SAME, "--learning_rate", "0.005", cwd=tmp_path, OMP_NUM_THREADS="1", PL_TRAINER_DEFAULT_ROOT_DIR="main"
    )
    searched = ["--search_only", "--search", "learning_rate=0.005", "--n_trials", "1", "--study_name", "fixed"]
    result = project.python("sweep_optuna.py", *SAME, *searched, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    hydra(project, *SHORT, "learning_rate=0.005", "hydra.run.dir=alone", cwd=tmp_path)
    hydra(project, "-m", *SHORT, "learning_rate=0.005", "hydra.sweep.dir=many", cwd=tmp_path)
    hydra(project, "-m", *SHORT, "learning_rate=0.005", "hydra.sweep.dir=joblib", *JOBLIB, cwd=tmp_path)
    study = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=by_hydra"]
    hydra(project, "-m", *SHORT, "learning_rate=choice(0.005)", *study, cwd=tmp_path)
    wanted = metrics(by_main)
    assert wanted.keys() >= {"train_loss", "val_loss", "test_accuracy"}
    for folder in ("runs/sweeps/fixed", "alone", "many", "joblib", "runs/sweeps/by_hydra"):
        assert metrics(tmp_path / folder) == wanted, folder
    # The files and the line of a job repeat its run, too.
    (row,) = table(tmp_path / "many")
    commands = {
        "file": ["--config", str(tmp_path / "alone" / "config.yaml")],
        "flags": ["--config", str(tmp_path / "alone" / ".hydra" / "flags.yaml")],
        "line": shlex.split(row["command"])[2:],
    }
    for name, words in commands.items():
        project.run(*words, "--default_root_dir", name, cwd=tmp_path, OMP_NUM_THREADS="1")
        assert metrics(tmp_path / name) == wanted, name


def test_a_failing_job_leaves_the_others_alone(project, tmp_path):
    jobs = ["model_name=mnist,my_model", "max_epochs=1,-3", "hydra.sweep.dir=many"]
    result = hydra(project, "-m", *SHORT[1:], *jobs, status=1, cwd=tmp_path)
    rows = table(tmp_path / "many")
    assert [row["state"] for row in rows] == ["complete", "complete", "failed", "failed"]
    losses = [float(row["val_loss"]) for row in rows[:2]]
    assert losses == sorted(losses)
    assert all("max_epochs" in row["error"] for row in rows[2:])
    assert result.stderr.splitlines()[-1] == "sweep_hydra.py: error: 2 of 4 jobs failed: see many/jobs.csv"
    assert rows[0]["command"] in result.stdout
    assert (tmp_path / "many" / "jobs.png").read_bytes().startswith(b"\x89PNG")
    files = {path.name for path in (tmp_path / "many" / "0").iterdir()}
    assert files >= {".hydra", "config.yaml", "metrics.json", "metrics.csv", "checkpoints", "job.json"}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_outlive_a_job_that_is_killed(project, tmp_path, launcher):
    jobs = ["model_name=killer", "layer_1_dim=7,8,9", f"hydra/launcher={launcher}", "hydra.sweep.dir=many"]
    hydra(project, "-m", *SHORT, *jobs, status=1, cwd=tmp_path)
    rows = table(tmp_path / "many")
    assert [row["state"] for row in rows] == ["complete", "complete", "failed"]
    assert "killed by signal 9" in rows[2]["error"]


@pytest.mark.slow
def test_a_job_on_two_processes_has_one_directory(project, tmp_path):
    hydra(project, "-m", *SHORT, "devices=2", "strategy=ddp", "accelerator=cpu", "hydra.sweep.dir=many", cwd=tmp_path)
    assert [path.parent.name for path in tmp_path.rglob("config.yaml") if path.parent.name != ".hydra"] == ["0"]
    assert [path.name for path in tmp_path.iterdir()] == ["many"]
    assert metrics(tmp_path / "many").keys() >= {"val_loss", "test_loss"}


@pytest.mark.parametrize("launcher", [(), pytest.param(JOBLIB, marks=pytest.mark.slow)], ids=["basic", "joblib"])
def test_a_multirun_that_was_stopped_goes_on(project, tmp_path, launcher):
    argv = ["-m", "max_epochs=60", "limit_train_batches=5", "seed=1,2", "hydra.sweep.dir=many", *launcher]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PL_", "PYTEST_", "SLURM_"))}
    command = [sys.executable, str(project.path / "sweep_hydra.py"), *argv]
    process = popen(
        command,
        cwd=tmp_path,
        env=clean | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(tmp_path / "many" / "0" / "checkpoints" / "last.ckpt", process)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "hydra.sweep.dir=many" in said
    hydra(project, *argv, cwd=tmp_path)
    rows = table(tmp_path / "many")
    assert [row["state"] for row in rows] == ["complete", "complete"]
    for row in rows:  # as if nothing had happened
        project.run(*shlex.split(row["command"])[2:], "--default_root_dir", f"again{row['seed']}", cwd=tmp_path)
        assert metrics(tmp_path / f"again{row['seed']}") == metrics(tmp_path / "many" / row["job"])


def wait_for(file, process, seconds=300):
    """Wait until a process has written a file.

    Raises:
        TimeoutError: If it does not.
    """
    end = time.monotonic() + seconds
    while not file.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise TimeoutError(f"{file} was not written, exit status {process.poll()}")
        time.sleep(0.05)


def contents(folder):
    """Return every file below a folder, and what is in it."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def require_true_rows(folder):
    """Hold the rows of a table against the runs: each has the metrics of its own overrides."""
    for row in table(folder):
        assert f" --seed={row['seed']}" in row["command"]
        assert f"seed: {row['seed']}\n" in (folder / row["job"] / ".hydra" / "flags.yaml").read_text()
        assert json.loads((folder / row["job"] / "metrics.json").read_text())["val_loss"] == float(row["val_loss"])


@pytest.mark.parametrize("launcher", [(), pytest.param(JOBLIB, marks=pytest.mark.slow)], ids=["basic", "joblib"])
def test_other_overrides_in_a_used_directory_are_refused_and_change_nothing(project, tmp_path, launcher):
    argv = ["-m", *SHORT, "hydra.sweep.dir=many", *launcher]
    hydra(project, *argv, "seed=1,2,3,4", cwd=tmp_path)
    before = contents(tmp_path)
    result = hydra(project, *argv, "seed=1,2,3,5", status=2, cwd=tmp_path)
    (line,) = result.stderr.splitlines()
    assert "many/3 holds a run with seed=4, and this job has seed=5: name another directory, or give the same" in line
    result = hydra(project, *argv, "seed=1,2,3,4", "batch_size=16", status=2, cwd=tmp_path)
    assert "many/0 holds a run with batch_size by default, and this job has batch_size=16: " in result.stderr
    assert contents(tmp_path) == before
    # The same ones, in another order, are what is there; and there may be more of them.
    hydra(project, "-m", "seed=1,2,3,4,5", *reversed(SHORT), "hydra.sweep.dir=many", *launcher, cwd=tmp_path)
    rows = table(tmp_path / "many")
    assert sorted(row["seed"] for row in rows) == ["1", "2", "3", "4", "5"]
    assert {row["state"] for row in rows} == {"complete"}
    require_true_rows(tmp_path / "many")
    unchanged = [path for path in before if path.name in ("metrics.json", "metrics.csv", "last.ckpt", "flags.yaml")]
    assert len(unchanged) == 16
    assert all(path.read_bytes() == before[path] for path in unchanged)


def test_other_overrides_in_the_directory_of_a_run_are_refused_and_change_nothing(project, tmp_path):
    hydra(project, *SHORT, "seed=1", "hydra.run.dir=one", cwd=tmp_path)
    before = contents(tmp_path)
    result = hydra(project, *SHORT, "seed=2", "hydra.run.dir=one", status=2, cwd=tmp_path)
    assert "one holds a run with seed=1, and this job has seed=2: " in result.stderr
    assert contents(tmp_path) == before
    hydra(project, *SHORT, "seed=1", "hydra.run.dir=one", cwd=tmp_path)


SILENT = """
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class Silent(BasicSweeper):
    pass
"""


@pytest.mark.parametrize("launcher", [(), pytest.param(JOBLIB, marks=pytest.mark.slow)], ids=["basic", "joblib"])
def test_where_a_sweeper_does_not_tell_its_jobs_beforehand_rows_stay_true(project, tmp_path, launcher):
    (project.path / "harness/sweeps/hydra/plugins/hydra_plugins/silent.py").write_text(SILENT)
    argv = ["-m", *SHORT, "hydra.sweep.dir=many", "hydra.sweeper._target_=hydra_plugins.silent.Silent", *launcher]
    hydra(project, *argv, "seed=1,2", cwd=tmp_path)
    before = table(tmp_path / "many")
    result = hydra(project, *argv, "seed=1,3", status=2, cwd=tmp_path)
    assert "many/1 holds a run with seed=2, and this job has seed=3: " in result.stderr
    rows = table(tmp_path / "many")
    assert [{**row, "seconds": ""} for row in rows] == [{**row, "seconds": ""} for row in before]
    require_true_rows(tmp_path / "many")


@pytest.mark.slow
def test_slurm_runs_jobs_and_one_that_gives_way_goes_on(project, tmp_path):
    if reason := why_not():
        missing_server(reason)
    with slurm_node(tmp_path / "slurm") as environment:
        job = ("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=2")
        argv = ["-m", *SHORT, *job, "model_name=mnist", "max_epochs=1,-3", "hydra.sweep.dir=many"]
        hydra(project, *argv, "hydra/launcher=submitit_slurm", status=1, cwd=tmp_path, **environment)
        assert [row["state"] for row in table(tmp_path / "many")] == ["complete", "failed"]

        argv = ["-m", "hydra/launcher=slurm", *job, "max_epochs=100", "limit_train_batches=5", "hydra.sweep.dir=long"]
        command = [sys.executable, str(project.path / "sweep_hydra.py"), *argv]
        process = popen(command, cwd=tmp_path, env=environment | {"OMP_NUM_THREADS": "1"})
        wait_for(tmp_path / "long" / "0" / "checkpoints" / "last.ckpt", process)
        subprocess.run(["scancel", "--signal=USR2", "--name=sweep_hydra"], env=environment, check=True)
        assert process.wait(timeout=300) == 0
    log = "".join(path.read_text() for path in tmp_path.glob("long/.submitit/*/*_log.err"))
    assert "REQUEUE" in log
    project.run("--max_epochs", "100", "--limit_train_batches", "5", "--default_root_dir", "unbroken", cwd=tmp_path)
    assert metrics(tmp_path / "long") == metrics(tmp_path / "unbroken")


def test_optuna_and_hydra_share_a_study(project, tmp_path):
    sweeper = ["hydra/sweeper=optuna", "hydra.sweeper.study_name=shared"]
    hydra(project, "-m", *SHORT, *sweeper, "hydra.sweeper.n_trials=2", cwd=tmp_path)
    shared = [*SAME, "--study_name", "shared"]
    result = project.python("sweep_optuna.py", *shared, "--n_trials", "3", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    more = ["hydra.sweeper.n_trials=5", "hydra.sweeper.workers=2"]
    result = hydra(project, "-m", *SHORT, *sweeper, *more, *JOBLIB, cwd=tmp_path)
    assert re.search(r"^5 trials: ", result.stdout, re.MULTILINE)
    result = project.python("sweep_optuna.py", *shared, "--report", cwd=tmp_path)
    assert re.search(r"^5 trials: ", result.stdout, re.MULTILINE)
    result = hydra(project, "-m", *SHORT, *sweeper, "hydra.sweeper.report=true", cwd=tmp_path)
    assert re.search(r"^5 trials: ", result.stdout, re.MULTILINE)

    alone = ["--study_name", "alone", "--n_trials", "3"]
    project.python("sweep_optuna.py", *SAME, *alone, cwd=tmp_path)
    for name in ("0000", "0001", "0002"):  # what is drawn does not hang on the script
        runs = [
            tmp_path / "runs" / "sweeps" / study / "trials" / name / "metrics.json" for study in ("shared", "alone")
        ]
        assert len({run.read_text() for run in runs if run.exists()}) == 1, name
    assert (tmp_path / "runs" / "sweeps" / "shared" / "workers" / "0" / ".hydra").is_dir()
    assert not (tmp_path / "runs" / "multirun").exists()


@pytest.mark.slow
def test_overrides_are_searched_as_flags_of_search_are(project, tmp_path):
    searched = ["learning_rate=tag(log,interval(1e-4,1e-1))", "batch_size=16,32", "layer_1_dim=range(8,33,8)"]
    study = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler=random"]
    hydra(project, "-m", *SHORT, *searched, *study, cwd=tmp_path)
    same = ["learning_rate=1e-4..1e-1:log", "batch_size=16,32", "layer_1_dim=8,16,24,32"]
    argv = [*SAME, "--search_only", "--sampler", "random", "--report", "--search", *same]
    result = project.python("sweep_optuna.py", *argv, cwd=tmp_path)
    assert re.search(r"^2 trials: ", result.stdout, re.MULTILINE), result.stderr


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (["widht=3"], 2, "Could not override 'widht': unknown flag widht"),
        (["encoder_layers=3"], 2, "Could not override 'encoder_layers': encoder_layers is a flag of model gan, not m"),
        (["-m", "model_name=my_model", "encoder_layers=3,4"], 2, "is a flag of model gan, not my_model"),
        (["max_epochs=abc"], 2, "argument --max_epochs: 'abc' is not what it takes: int|none"),
        (["--max_epochs", "3"], 2, "--max_epochs: here flags have no dashes"),
        (["model_name=nobody"], 2, "Could not find 'model_name/nobody' Available options in 'model_name': gan killer"),
        (["experiment=nothing"], 2, "Could not find 'experiment/nothing' Available options in 'experiment': block"),
        (["hydra.run.dir=notes.txt"], 1, "File exists: 'notes.txt'"),
        (["hydra.run.dir=."], 2, "is not for this job alone: it holds notes.txt"),
        (["-m", "hydra.sweep.dir=.", "hydra.sweep.subdir=."], 2, "is not for this job alone: it holds notes.txt"),
        (["+experiment=short"], 2, "+experiment=short: it has its place already: drop the +, as in experiment=short"),
        (["-m", "+experiment=short"], 2, "drop the +, as in experiment=short"),
        (["experiment=block"], 2, "experiment/block.yaml has a hydra: block: its first line must be # @package _gl"),
        (["-m", "experiment=short,block"], 2, "experiment/block.yaml has a hydra: block: its first line must be # @"),
        (["+size=small"], 2, "size/small.yaml: its first line must be # @package _global_, so that it holds flags"),
        (["-m", "+size=small"], 2, "size/small.yaml: its first line must be # @package _global_, so that it holds"),
        (["-m", "hydra/sweeper=optuna", "+size=small"], 2, "size/small.yaml: its first line must be # @package"),
        (["-m", "experiment=null,short"], 2, "Config group override must be a string"),
        (["-m", "hydra/sweeper=optuna", "model_name=mnist,gan"], 2, "--model_name cannot be searched"),
        (["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=0"], 2, "'0' is not a positive integer"),
    ],
)
def test_a_mistake_is_one_line(project, tmp_path, argv, status, said):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "notes.log").write_text("mine, too")
    result = hydra(project, *argv, status=status, cwd=tmp_path)
    (line,) = result.stderr.splitlines()
    assert line.startswith("sweep_hydra.py: error: ")
    assert said in line
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "notes.log").read_text() == "mine, too"
    assert not list(tmp_path.glob("runs/*/*"))
    assert not (tmp_path / ".hydra").exists()


def test_what_the_errors_say_mends_the_files(project, tmp_path):
    for name in ("experiment/block.yaml", "size/small.yaml"):
        file = project.path / "conf" / name
        (file.with_name(f"mended_{file.name}")).write_text(f"# @package _global_\n{file.read_text()}")
    hydra(project, *SHORT, "experiment=mended_block", "+size=mended_small", "hydra.run.dir=one", cwd=tmp_path)
    text = (tmp_path / "one" / ".hydra" / "flags.yaml").read_text()
    assert "layer_1_dim: 8\n" in text
    assert "max_epochs: 2\n" in text


def test_help_config_and_completion_are_quick_to_answer(project, tmp_path):
    """None of them imports torch."""
    script = "import runpy, sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; "
    script += f"sys.path.insert(0, {str(project.path)!r}); runpy.run_path(sys.argv[0], run_name='__main__')"
    asked = {
        ("--help",): "  encoder_layers=",
        ("--cfg", "job"): "encoder_layers: 12",
    }
    for argv, answer in asked.items():
        words = [str(project.path / "sweep_hydra.py"), *argv, "model_name=gan"]
        result = project.python("-c", script, *words, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert answer in result.stdout
    for word, answer in {
        "model_name=g": "model_name=gan",
        "enc": "encoder_layers=",
        "hydra/launcher=": JOBLIB[0],
    }.items():
        line = f"python sweep_hydra.py model_name=gan {word}"
        shell = {"_ARGCOMPLETE": "2", "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "answer")}
        shell |= {"COMP_LINE": line, "COMP_POINT": str(len(line))}
        result = project.python("-c", script, str(project.path / "sweep_hydra.py"), cwd=tmp_path, **shell)
        assert result.returncode == 0, result.stderr
        assert answer in (tmp_path / "answer").read_text().split("\v")


@pytest.mark.slow
def test_the_command_lines_of_the_page_on_hydra_work(project, tmp_path):
    text = (project.path / "docs" / "hydra.md").read_text()
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    lines = [line for line in lines if "slurm" not in line and "ray" not in line]  # Slurm is tried above
    assert len(lines) == 10
    (tmp_path / "conf").symlink_to(project.path / "conf")
    for line in lines:
        python, *words = shlex.split(line, comments=True)
        assert python == "python"
        assert project.python(*words, cwd=tmp_path).returncode == 0, line


def test_wandb_groups_the_jobs_of_a_multirun(project, tmp_path):
    pytest.importorskip("wandb")
    hydra(
        project, "-m", *SHORT, "seed=1,2", "logger=wandb", "hydra.sweep.dir=tried", cwd=tmp_path, WANDB_MODE="offline"
    )
    runs = list(tmp_path.glob("tried/*/wandb/offline-run-*/*.wandb"))
    assert len(runs) == 2
    assert all(b"2\x05tried" in file.read_bytes() for file in runs)
