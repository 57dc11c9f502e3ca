"""Sweeps of a baked project: killed, starved of luck, spread over workers and servers, looked at in a browser."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from tests.conftest import ROOT, missing_server, popen

STORM = ("--max_epochs", "4", "--limit_val_batches", "2", "--n_trials", "9", "--pruner", "none", "--keep_top", "9")
MOODY = """
from argparse import ArgumentParser
import pytorch_lightning as pl
import torch

MOODS = ["good", "nan", "error", "exit", "memory", "silent"]

class Moody(pl.LightningModule):
    monitor = "val_loss"

    @staticmethod
    def add_model_specific_args(parent_parser):
        parent_parser.add_argument("--mood", choices=MOODS, default="good")
        parent_parser.add_argument("--loss", type=float, default=1.0)
        return parent_parser

    @staticmethod
    def search_space(trial):
        trial.suggest_float("loss", 0.0, 1.0)

    def __init__(self, hparams):
        super().__init__()
        self.save_hyperparameters(hparams)
        self.weight = torch.nn.Parameter(torch.ones(()))

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(2))

    val_dataloader = train_dataloader

    def training_step(self, batch, batch_idx):
        if self.hparams.mood == "error":
            raise ValueError("in a bad mood")
        if self.hparams.mood == "exit":
            raise SystemExit("goes home")
        if self.hparams.mood == "memory":
            torch.empty(2**60)
        return self.weight * (float("nan") if self.hparams.mood == "nan" else 1.0)

    def validation_step(self, batch, batch_idx):
        self.log("extra", 1 - self.hparams.loss)
        if self.hparams.mood != "silent":
            self.log("val_loss", self.hparams.loss)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
"""

# Counts its tests in a file where it is started, and does in them what a file there says.
EXAMINED = """
import os
import signal
from pathlib import Path

from models.moody import Moody


class Examined(Moody):
    test_dataloader = Moody.train_dataloader

    def on_test_start(self):
        with Path("tests.txt").open("a") as file:
            file.write(f"{self.hparams.loss}\\n")
        trouble = Path("trouble.txt").read_text() if Path("trouble.txt").exists() else ""
        if trouble == "kill":
            Path("trouble.txt").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble:
            raise ValueError(trouble)

    def test_step(self, batch, batch_idx):
        self.log("test_loss", 2 * self.hparams.loss)
        self.log("extra", 0.0)
"""
# The same as all others, until its last validation.
LATE = """
from models.moody import Moody


class Late(Moody):
    @staticmethod
    def add_model_specific_args(parent_parser):
        parser = Moody.add_model_specific_args(parent_parser)
        parser.add_argument("--last", type=int, default=2)
        return parser

    def training_step(self, batch, batch_idx):
        self.log("train", 1 + self.hparams.loss if self.current_epoch == self.hparams.last else 9.0)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        is_last = self.trainer.state.fn != "fit" or self.current_epoch == self.hparams.last
        self.log("val_loss", 1 + self.hparams.loss if is_last else 9.0)
"""


@pytest.fixture(scope="module")
def project(bake):
    """A project with Optuna, a model of many moods, and others made from it."""
    project = bake(project_slug="sweeping", sweeps="optuna")
    for name, text in (("moody", MOODY), ("examined", EXAMINED), ("late", LATE)):
        (project.path / "models" / f"{name}.py").write_text(text)
    return project


@pytest.fixture
def start(project, tmp_path):
    """Return a function that starts a sweep in the background; what still runs at the end is killed."""
    started = []
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PL_", "PYTEST_", "SLURM_"))}
    clean |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def start_sweep(*argv):
        with (tmp_path / "log.txt").open("a") as log:
            command = [sys.executable, str(project.path / "sweep_optuna.py"), *argv]
            started.append(
                popen(
                    command,
                    cwd=tmp_path,
                    env=clean,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
        return started[-1]

    yield start_sweep
    for process in started:
        if process.poll() is None:
            process.kill()  # its workers see it, and end
        process.wait()


def url_of(folder):
    """Return the URL of the only study below a folder, or of one that is not there."""
    return f"sqlite:///{next(folder.glob('runs/sweeps/*/study.db'), 'file:none?mode=ro&uri=true')}"


def study_of(folder, url=None):
    """Return a copy of the only study below a folder, or in a storage; no connection stays open for it."""
    options = {"poolclass": sqlalchemy.NullPool}
    storage, memory = optuna.storages.RDBStorage(url or url_of(folder), options), optuna.storages.InMemoryStorage()
    (name,) = optuna.get_all_study_names(storage)
    optuna.copy_study(from_study_name=name, from_storage=storage, to_storage=memory)
    storage.remove_session()
    return optuna.load_study(study_name=name, storage=memory)


def trials_now(folder, url=None):
    """Return the numbers of the trials that there are now, and their states; this makes no table, as Optuna would."""
    engine = sqlalchemy.create_engine(url or url_of(folder), poolclass=sqlalchemy.NullPool)
    with suppress(sqlalchemy.exc.SQLAlchemyError), engine.connect() as connection:
        return dict(connection.execute(sqlalchemy.text("SELECT number, state FROM trials")).all())
    return {}


def running(folder, url=None):
    """Return the numbers of the trials that run now."""
    return {number for number, state in trials_now(folder, url).items() if state == "RUNNING"}


def workers_of(process):
    """Return the processes that a sweep has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []


def wait_until(condition, process, seconds=120):
    """Wait for a condition, or the end of a process."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def log_of(folder):
    logs = [folder / "log.txt", *folder.glob("runs/sweeps/*/logs/*")]
    return "\n".join(f"{path}:\n{path.read_text()}" for path in logs)


def repeated(project, folder, line):
    """Run the line that repeats a trial; return the metrics of its run."""
    before = set(folder.glob("runs/2*"))
    words = shlex.split(line)
    assert words[:2] == ["python", "main.py"]
    result = project.python("main.py", *words[2:], cwd=folder)
    assert result.returncode == 0, result.stderr
    (run,) = set(folder.glob("runs/2*")) - before
    return json.loads((run / "metrics.json").read_text())


def same_as_repeated(project, folder, trial):
    """Hold the value of a trial against the run that its line makes, to the last bit."""
    owner = trial.user_attrs["worker"]
    line = shlex.join(["python", "main.py", *owner["command"]])
    assert repeated(project, folder, line)["val_loss"] == trial.value


def storm(start, folder, *words, workers, kills, seed, url=None, victims=("sweep", "worker", "interrupt", "worker")):
    """Run a sweep to its end while its processes are killed; return the study, and which trials were hit."""
    chance = random.Random(seed)
    struck, process, done = set(), start(*words, "--workers", str(workers)), 0
    for kill in range(kills):
        victim = victims[kill % len(victims)]

        def is_going(process=process):
            saved = any(folder.glob("runs/sweeps/*/trials/*/checkpoints/last.ckpt"))
            return saved and workers_of(process) and running(folder, url)

        wait_until(is_going, process)
        time.sleep(chance.uniform(0, 1.5))
        if process.poll() is not None:
            break
        hit, done = running(folder, url), done + 1
        if victim == "worker":
            for pid in workers_of(process)[:1]:
                os.kill(pid, signal.SIGKILL)
            time.sleep(1)
            continue
        process.send_signal(signal.SIGKILL if victim == "sweep" else signal.SIGINT)
        status = process.wait(timeout=120)
        assert status in ((-signal.SIGKILL,) if victim == "sweep" else (130, 0)), log_of(folder)
        struck |= hit
        process = start(*words, "--workers", str(workers))
    assert process.wait(timeout=400) == 0, log_of(folder)
    assert done >= min(kills, 2), "the sweep ended before it was killed"
    return study_of(folder, url), struck


def require_whole(study, count):
    """Hold a study against what was asked for: so many trials, each complete, none twice."""
    trials = study.get_trials(deepcopy=False)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * count
    assert [trial.number for trial in trials] == list(range(count))
    assert {tuple(trial.intermediate_values) for trial in trials} == {(1, 2, 3, 4)}  # of as many epochs
    assert len({str(trial.params) for trial in trials}) == count


def test_four_workers_killed_at_any_time_lose_no_trial_and_make_none_too_many(project, start, tmp_path):
    study, struck = storm(start, tmp_path, *STORM, workers=4, kills=4, seed=1)
    require_whole(study, 9)
    assert struck
    # A trial that was killed and went on has the value of one that was not.
    trials = study.get_trials(deepcopy=False)
    same_as_repeated(project, tmp_path, trials[min(struck)])
    assert [name for name in study.user_attrs if name.startswith("test:")] == [f"test:{study.best_trial.number}"]
    assert len(list(tmp_path.glob("runs/sweeps/*/trials/*"))) == 9
    # Nothing runs any more.
    owners = {trial.user_attrs["worker"]["pid"] for trial in trials}
    assert not [pid for pid in owners if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_long_storm(start, tmp_path, seed):
    study, _ = storm(start, tmp_path, *STORM, workers=random.Random(seed).randint(1, 4), kills=10, seed=seed)
    require_whole(study, 9)


@pytest.mark.slow
def test_a_journal_survives_as_well(start, tmp_path):
    url = f"journal:{tmp_path}/shared/journal.log"
    words = [*STORM, "--storage", "journal:shared/journal.log"]
    process, kills = start(*words, "--workers", "2"), 0
    while kills < 4:
        time.sleep(6)
        if process.poll() is not None:
            break
        process.send_signal([signal.SIGKILL, signal.SIGINT][kills % 2])
        process.wait(timeout=120)
        process, kills = start(*words, "--workers", "2"), kills + 1
    assert process.wait(timeout=400) == 0, log_of(tmp_path)
    backend = optuna.storages.journal.JournalFileBackend(url.removeprefix("journal:"))
    require_whole(optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(backend)), 9)


@pytest.fixture
def postgresql(tmp_path):
    """The URL of an empty database on a PostgreSQL server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "/none")]
    if not found[-1].exists():
        missing_server("PostgreSQL is not installed")
    programs, folder, port = found[-1].parent, Path("/tmp") / f"pg-{os.getpid()}", free_port()
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root
    folder.mkdir()
    try:
        if as_user:
            shutil.chown(folder, "postgres")

        def command(*argv):
            subprocess.run([*as_user, *argv], check=True, capture_output=True, timeout=120, cwd="/")

        command(str(programs / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "postgres")
        options = f"-p {port} -k {folder} -h 127.0.0.1"
        control = [str(programs / "pg_ctl"), "-D", str(folder / "data"), "-w", "-l", str(folder / "log")]
        command(*control, "-o", options, "start")
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        command(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def answers(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_workers_share_a_postgresql_server(project, start, tmp_path, postgresql):
    """Two sweeps begun at once, as on two machines, one of them killed; and the server's refusal in one line."""
    words = [*STORM, "--n_trials", "8", "--storage", postgresql]
    first, second = start(*words), start(*words)
    wait_until(lambda: "COMPLETE" in trials_now(tmp_path, postgresql).values(), first)
    first.kill()
    first.wait()
    third = start(*words)
    assert [second.wait(timeout=300), third.wait(timeout=300)] == [0, 0], log_of(tmp_path)
    require_whole(study_of(tmp_path, postgresql), 8)
    wrong = postgresql.replace("/postgres", "/nothing").replace("postgres@", "me:secret@")
    result = project.python("sweep_optuna.py", *STORM, "--storage", wrong, cwd=tmp_path)
    assert result.returncode == 1
    assert re.fullmatch(r"sweep_optuna\.py: error: --storage postgresql\S+: .*nothing is lost.*\n", result.stderr)
    assert "secret" not in result.stderr


@pytest.mark.slow
def test_workers_share_a_grpc_proxy(project, start, tmp_path):
    port = free_port()
    script = (
        "import optuna\n"
        f"storage = optuna.storages.RDBStorage('sqlite:///{tmp_path}/behind.db')\n"
        f"optuna.storages.run_grpc_proxy_server(storage, host='127.0.0.1', port={port})\n"
    )
    server = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port), server)
        words = [*STORM, "--n_trials", "5", "--workers", "2", "--storage", f"grpc://127.0.0.1:{port}"]
        assert start(*words).wait(timeout=300) == 0, log_of(tmp_path)
        require_whole(study_of(tmp_path, f"sqlite:///{tmp_path}/behind.db"), 5)
    finally:
        server.kill()
        server.wait()


def sweep(project, cwd, *words, status=0):
    result = project.python("sweep_optuna.py", *words, cwd=cwd)
    assert result.returncode == status, result.stdout + result.stderr
    return result


def test_a_trial_that_fails_says_why_and_the_others_go_on(project, tmp_path):
    moods = ("--model_name", "moody", "--max_epochs", "1", "--sampler", "grid", "--search_only", "--search")
    result = sweep(project, tmp_path, *moods, "mood=good,nan,error,exit,memory,silent", "loss=0.5")
    study = study_of(tmp_path)
    said = {trial.params["mood"]: trial.user_attrs.get("error", "") for trial in study.trials}
    assert said["good"] == ""
    for mood, reason in (
        ("nan", "not finite|not a number|NaN|nan"),
        ("error", "ValueError: in a bad mood"),
        ("exit", "goes home"),
        ("memory", "memory|allocate"),
        ("silent", "could not find the monitored key.*val_loss|val_loss.*could not find"),
    ):
        assert re.search(reason, said[mood]), said
        (line,) = re.findall(rf"^trial \d+ failed: {re.escape(said[mood][:60])}.*$", result.stdout, re.MULTILINE)
        file = Path(re.search(r"\((\S+error\.txt)\)$", line)[1])
        assert len(line) < 250
        assert said[mood] in (tmp_path / file).read_text().replace("\n", " ")
    assert "6 trials: 1 complete, 5 fail" in result.stdout
    page = next(tmp_path.glob("runs/sweeps/*/report.html")).read_text()
    assert "ValueError: in a bad mood" in page
    assert list(tmp_path.glob("runs/sweeps/*/trials/*/error.txt"))
    # Too many in a row, and it ends with the reason; the same command tries the rest.
    words = [*moods, "mood=error", "loss=0.1,0.2,0.3,0.4", "--max_failures", "2"]
    for left in (2, 0):
        result = sweep(project, tmp_path, *words, status=1)
        last = result.stderr.splitlines()[-1]
        assert "2 trials in a row have failed, the last with: " in last
        assert "ValueError: in a bad mood" in last
        assert "Traceback" not in result.stderr
        (directory,) = [
            path for path in (tmp_path / "runs/sweeps").iterdir() if len(list(path.glob("trials/*"))) == 4 - left
        ]
    assert len(list(directory.glob("trials/*"))) == 4
    result = sweep(project, tmp_path, *moods, "mood=silent", "loss=0.5", status=1)
    assert re.search(r"no trial is complete: see runs/sweeps/\S+/trials\.csv\n$", result.stderr)


def test_pruners_end_bad_trials_early(project, tmp_path):
    words = ["--model_name", "moody", "--max_epochs", "4", "--sampler", "grid"]
    values = ",".join(str(number / 10) for number in range(9))
    sweep(project, tmp_path, *words, "--search", f"loss={values}")
    study = study_of(tmp_path)
    assert TrialState.PRUNED in {trial.state for trial in study.trials}
    for trial in study.trials:
        times = 4 if trial.state == TrialState.COMPLETE else 2  # no trial ends in the first third
        assert list(trial.intermediate_values.values()) == pytest.approx([trial.params["loss"]] * times)
        assert trial.user_attrs["metrics"]["extra"] == pytest.approx(1 - trial.params["loss"])
    assert study.best_value == 0.0
    assert not list(tmp_path.glob("runs/sweeps/*/trials/*/error.txt"))


LAST_VALIDATIONS = {
    "epochs": ("--max_epochs", "3"),
    "steps": ("--max_steps", "6", "--max_epochs", "9"),
    "early": ("--max_epochs", "9", "--early_stopping_patience", "2", "--early_stopping_min_delta", "100"),
    "within": ("--max_steps", "5", "--val_check_interval", "1"),
    "training": ("--max_epochs", "3", "--monitor", "train", "--direction", "minimize"),
}
SLOW = ("within", "training")


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(words, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for name, words in LAST_VALIDATIONS.items()
    ],
)
def test_no_trial_is_pruned_when_its_training_is_over(project, tmp_path, limits):
    """There is nothing left to save, and its value was lost."""
    values = ",".join(str(number / 10) for number in range(7))
    words = ["--model_name", "late", "--sampler", "grid", "--search", f"loss={values}"]
    sweep(project, tmp_path, *words, *limits)
    trials = study_of(tmp_path).get_trials(deepcopy=False)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 7
    assert {len(trial.intermediate_values) for trial in trials} == {5 if "--val_check_interval" in limits else 3}
    assert len({list(trial.intermediate_values.values())[-1] for trial in trials}) == 7


@pytest.mark.slow
def test_no_trial_on_two_processes_is_pruned_when_its_training_is_over(project, tmp_path):
    words = ["--model_name", "late", "--sampler", "grid", "--search", "loss=0,0.1,0.2,0.3,0.4,0.5,0.6"]
    processes = ["--max_epochs", "3", "--accelerator", "cpu", "--devices", "2", "--strategy", "ddp"]
    sweep(project, tmp_path, *words, *processes, "--logger", "none")
    trials = study_of(tmp_path).get_trials(deepcopy=False)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 7
    assert {len(trial.intermediate_values) for trial in trials} == {3}


EXAM = ("--model_name", "examined", "--max_epochs", "1", "--sampler", "random", "--study_name", "exam")


def losses_tested(folder):
    """Return the losses of the models that were tested below a folder, in this order."""
    file = folder / "tests.txt"
    return [float(line) for line in file.read_text().split()] if file.exists() else []


def test_the_best_trial_is_tested_once_by_whoever_is_last(project, start, tmp_path):
    words = [*EXAM, "--storage", f"sqlite:///{tmp_path}/shared.db"]
    processes = [start(*words, "--n_trials", "3", "--workers", "2") for _ in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0], log_of(tmp_path)

    def best():
        return study_of(tmp_path, f"sqlite:///{tmp_path}/shared.db").best_trial.params["loss"]

    first = best()
    assert losses_tested(tmp_path) == [first]
    # At the next start it is as tested as it was, wherever that is; the run is as if it had tested itself.
    result = sweep(project, tmp_path, *words, "--n_trials", "3")
    assert f"test_loss                   {2 * first:.4f}" in result.stdout
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = sweep(project, elsewhere, *words, "--n_trials", "3")
    assert f"test_loss                   {2 * first:.4f}" in result.stdout
    assert losses_tested(elsewhere) == []
    assert losses_tested(tmp_path) == [first]
    (tested,) = tmp_path.glob("runs/sweeps/exam/trials/*/test")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("python main.py")]
    metrics = repeated(project, tmp_path, line)
    assert json.loads((tested.parent / "metrics.json").read_text()) == metrics
    # Only another best is tested, too.
    more = 4
    while best() == first:
        sweep(project, tmp_path, *words, "--n_trials", str(more))
        more += 1
    assert losses_tested(tmp_path) == [first, first, best()]  # the second is the line's


@pytest.mark.slow
def test_a_test_that_is_killed_is_done_again(project, tmp_path):
    (tmp_path / "trouble.txt").write_text("kill")
    result = sweep(project, tmp_path, *EXAM, "--n_trials", "2")
    value = study_of(tmp_path).best_trial.params["loss"]
    assert losses_tested(tmp_path) == [value, value]
    assert f"test_loss                   {2 * value:.4f}" in result.stdout


@pytest.mark.slow
def test_a_test_that_fails_says_why_and_the_same_command_tries_again(project, tmp_path):
    (tmp_path / "trouble.txt").write_text("no such file")
    result = sweep(project, tmp_path, *EXAM, "--n_trials", "2", status=1)
    best = study_of(tmp_path).best_trial
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"sweep_optuna.py: error: trial {best.number} could not be tested: ")
    assert "ValueError: no such file" in last
    assert last.endswith("; the same command tries again")
    assert f"best: trial {best.number}, val_loss {best.value:.4f}" in result.stdout
    assert losses_tested(tmp_path) == [best.params["loss"]]
    (tmp_path / "trouble.txt").unlink()
    result = sweep(project, tmp_path, *EXAM, "--n_trials", "2")
    assert f"test_loss                   {2 * best.value:.4f}" in result.stdout
    assert losses_tested(tmp_path) == [best.params["loss"]] * 2


@pytest.mark.slow
def test_a_value_is_that_of_validation_whatever_the_test_logs(project, tmp_path):
    """The test logs the metric of the sweep, too: its value was that of the test."""
    metric = ["--monitor", "extra", "--direction", "maximize", "--test_after_fit"]
    sweep(project, tmp_path, *EXAM, "--n_trials", "3", *metric)
    study = study_of(tmp_path)
    assert [trial.value for trial in study.trials] == pytest.approx(
        [1 - trial.params["loss"] for trial in study.trials]
    )
    assert sorted(losses_tested(tmp_path)) == sorted(trial.params["loss"] for trial in study.trials)


@pytest.mark.slow
def test_a_model_that_cannot_be_tested_and_one_without_checkpoint_end_well(project, tmp_path):
    result = sweep(project, tmp_path, "--model_name", "moody", "--max_epochs", "1", "--n_trials", "1")
    assert "not tested" not in result.stderr
    words = ["--enable_checkpointing", "no", "--n_trials", "1", "--study_name", "bare"]
    result = sweep(project, tmp_path, *EXAM, *words)
    assert "trial 0 is not tested: this machine has no checkpoint of it" in result.stderr
    assert losses_tested(tmp_path) == []


@pytest.mark.slow
def test_several_metrics_give_a_front(project, tmp_path):
    words = ["--model_name", "moody", "--max_epochs", "1", "--sampler", "grid", "--search", "loss=0.2,0.4,0.6"]
    metrics = ["--monitor", "val_loss,extra", "--direction"]
    result = sweep(project, tmp_path, *words, *metrics, "minimize,minimize")
    assert result.stdout.count("on the front: trial") == 3
    page = next(tmp_path.glob("runs/sweeps/*/report.html")).read_text()
    assert "<h2>Pareto front</h2>" in page
    result = sweep(project, tmp_path, *words, *metrics, "minimize,maximize", "--study_name", "other")
    assert result.stdout.count("on the front: trial") == 1
    words = ["--model_name", "examined", *words[2:], "--study_name", "examined"]
    result = sweep(project, tmp_path, *words, *metrics, "minimize,minimize")
    assert result.stdout.count("test_loss  ") == 3
    assert sorted(losses_tested(tmp_path)) == [0.2, 0.4, 0.6]
    sweep(project, tmp_path, *words, *metrics, "minimize,minimize")
    assert len(losses_tested(tmp_path)) == 3


@pytest.mark.slow
def test_the_dashboard_shows_the_study(project, tmp_path):
    sweep(project, tmp_path, "--model_name", "moody", "--max_epochs", "1", "--n_trials", "2", "--study_name", "shown")
    port = free_port()
    file = tmp_path / "runs/sweeps/shown/study.db"
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), f"sqlite:///{file}", "--port", str(port)]
    with (tmp_path / "dashboard.txt").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(port), server)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=30) as answer:
            (study,) = json.load(answer)["study_summaries"]
        assert study["study_name"] == "shown"
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_the_command_lines_of_the_page_on_sweeps_work(project, tmp_path):
    text = (project.path / "docs" / "sweeps.md").read_text()
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert len(lines) >= 6
    for line in lines:
        python, *words = shlex.split(line, comments=True)
        assert python == "python"
        assert project.python(*words, cwd=tmp_path).returncode == 0, line
    assert len(list(tmp_path.glob("runs/sweeps/*/report.html"))) == 5


def resident(pid):
    """Return how many MB of memory a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000


@pytest.mark.slow
def test_memory_does_not_grow_from_trial_to_trial(start, tmp_path):
    """Each trial holds 6 MB of weights and optimiser: one that stayed would show."""
    wide = ("--layer_1_dim", "600", "--layer_2_dim", "300", "--search", "learning_rate=1e-4..1e-3")
    process = start("--max_epochs", "1", "--limit_train_batches", "2", "--n_trials", "60", "--pruner", "none", *wide)
    held = {}

    def look():
        done = len(list(tmp_path.glob("runs/sweeps/*/trials/*/metrics.json")))
        if workers := workers_of(process):
            with suppress(FileNotFoundError, TypeError):
                held[done] = resident(workers[0])

    wait_until(look, process, seconds=300)
    assert process.wait(timeout=60) == 0, log_of(tmp_path)
    early, late = ([held[done] for done in held if low <= done < low + 15] for low in (10, 44))
    assert early
    assert late
    assert max(late) - max(early) < 30, held


@pytest.mark.slow
def test_trials_on_two_processes_go_on_after_a_kill(start, tmp_path):
    words = ("--accelerator", "cpu", "--devices", "2", "--strategy", "ddp", "--max_epochs", "4", "--n_trials", "2")
    process = start(*words)
    wait_until(lambda: any(tmp_path.glob("runs/sweeps/*/trials/*/checkpoints/last.ckpt")), process)
    process.kill()
    process.wait()
    assert start(*words).wait(timeout=400) == 0, log_of(tmp_path)
    require_whole(study_of(tmp_path), 2)
    assert len(list(tmp_path.glob("runs/sweeps/*/trials/*/metrics.json"))) == 2


@pytest.mark.slow
def test_the_report_is_drawn_in_a_browser(project, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser is installed")
    sweep(project, tmp_path, "--max_epochs", "2", "--limit_train_batches", "3", "--n_trials", "6")
    (page,) = tmp_path.glob("runs/sweeps/*/report.html")
    # Nothing is fetched from elsewhere.
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page.read_text())
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=20000",
        f"--user-data-dir={tmp_path}/b",
    ]
    dumped = subprocess.run(
        [browser, *options, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    for title in ("intermediate_values", "history", "importances", "parallel_coordinates", "slices", "timeline"):
        (start_of,) = [match.start() for match in re.finditer(rf'<div id="{title}"', dumped)]
        figure = dumped[start_of:].split("<h2>")[0]
        assert 'class="main-svg"' in figure, title
        assert figure.count("<path") + figure.count("<rect") > 5, title
    # The numbers are those of the study: a point of the history for each trial.
    history = dumped[dumped.index('<div id="history"') :].split("<h2>")[0]
    best = study_of(tmp_path).best_trial
    assert history.count('class="point"') >= len([t for t in study_of(tmp_path).trials if t.values])
    assert f"{best.value:.6g}" in dumped


@pytest.mark.slow
def test_a_sweep_is_as_fast_as_the_benchmark_asks(tmp_path):
    command = [sys.executable, "benchmarks/sweeps.py", "--rounds", "1", "--report", str(tmp_path / "report.md")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_recipes_of_the_page_work(bake, tmp_path):
    project = bake(project_slug="recipes", sweeps="optuna")
    page = (project.path / "docs" / "sweeps.md").read_text().split("## Recipes")[1]
    line, objective = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (log,) = re.findall(r'self\.log\("val_error", [^`]+\)', page)

    def insert(file, before, text):
        path = project.path / file
        content = path.read_text()
        assert content.count(before) == 1, (file, before)
        path.write_text(content.replace(before, text + before))

    (project.path / "models" / "moody.py").write_text(MOODY)
    insert("models/moody.py", '        self.log("extra"', f"        accuracy = self.hparams.loss\n        {log}\n")
    insert("harness/sweeps/optuna/flags.py", '    "random": "RandomSampler",\n', line)
    words = ("--model_name", "moody", "--max_epochs", "1", "--n_trials", "2", "--sampler", "nsga:population_size=2")
    result = sweep(project, tmp_path, *words)
    study = study_of(tmp_path)
    assert [trial.user_attrs["metrics"]["val_error"] for trial in study.trials] == pytest.approx(
        [1 - trial.params["loss"] for trial in study.trials]
    )
    assert "sampler nsga:population_size=2" in result.stdout
    (page,) = tmp_path.glob("runs/sweeps/*/report.html")
    assert "val_error" in page.read_text()
    # Another objective.
    path = project.path / "sweep_optuna.py"
    first, _, last = path.read_text().partition("    metrics = trial.run(train)\n")
    (project.path / "sweep_optuna.py").write_text(first + objective + last.partition("\n")[2])
    words = ("--max_epochs", "1", "--limit_train_batches", "2", "--n_trials", "1", "--study_name", "own")
    folder = tmp_path / "own"
    folder.mkdir()
    sweep(project, folder, *words)
    (trial,) = study_of(folder).trials
    assert trial.value == trial.user_attrs["metrics"]["val_loss"] + 1e-3 * 64
