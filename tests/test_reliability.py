"""Runs that are killed, told to stop, starved or raced for real, through the command line of a baked project."""

import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from harness.contracts import same
from tests.conftest import popen

QUIET = ("--enable_progress_bar", "no", "--enable_model_summary", "no")
# Wide, so that much of the time goes into writing checkpoints of 8 MB.
MNIST = ("--layer_1_dim", "600", "--layer_2_dim", "300", "--max_epochs", "3", "--limit_val_batches", "2")
GAN = ("--model_name", "gan", "--encoder_layers", "2", "--max_epochs", "3", "--limit_val_batches", "2")
OFTEN = ("--save_every_n_train_steps", "2", "--log_every_n_steps", "1")
DDP = ("--accelerator", "cpu", "--devices", "2", "--strategy", "ddp")


def wait_until(ready, process):
    """Wait for something that a process does; fail if it does not within two minutes."""
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline, f"nothing happened within two minutes: {process.text()}"
        time.sleep(0.005)


# wandb names its service here, once a test has imported it: runs of others would be runs of that service.
FOREIGN = ("PL_", "PYTEST_", "SLURM_", "WANDB_")


class Process:
    """A run of main.py in the background, the first of a process group of its own."""

    def __init__(self, project, cwd, *argv, cold=False, **environment):
        self.cwd, self.log = Path(cwd), Path(cwd, f"log{len(list(Path(cwd).glob('log*')))}.txt")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        clean |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with self.log.open("w") as log:
            self.popen = popen(
                [sys.executable, str(project.path / "main.py"), *argv, *QUIET],
                cwd=cwd,
                env=clean | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cold=cold,
            )

    def wait_for_checkpoint(self, newer_than=0.0):
        """Wait until this run has written a checkpoint, or has finished."""

        def written():
            times = [path.stat().st_mtime for path in self.cwd.glob("runs/*/checkpoints/last.ckpt")]
            return self.popen.poll() is not None or max(times, default=0.0) > newer_than

        wait_until(written, self)

    def kill(self, signum, *, group=False):
        """Send a signal, wait for the end, and return the exit status."""
        (os.killpg if group else os.kill)(self.popen.pid, signum)
        return self.wait()

    def wait(self):
        status = self.popen.wait(timeout=300)
        return status

    def text(self):
        return self.log.read_text()

    def table(self):
        return dict(line.split() for line in self.text().splitlines() if len(line.split()) == 2)


@pytest.fixture
def start_in(tmp_path):
    """Return a function that starts main.py of a project in the background; what still runs at the end is killed."""
    started = []

    def start_run(project, *argv, cwd=tmp_path, **environment):
        started.append(Process(project, cwd, *argv, **environment))
        return started[-1]

    yield start_run
    for process in started:
        if process.popen.poll() is None:
            os.killpg(process.popen.pid, signal.SIGKILL)
            process.popen.wait()


@pytest.fixture
def start(project, start_in):
    """Return a function that starts main.py of the default project in the background."""
    return partial(start_in, project)


@pytest.fixture(scope="session")
def whole(project, tmp_path_factory):
    """Return a function that gives the directory of a run that nothing stopped; each is made once."""
    made = {}

    def whole_run(*argv):
        if argv not in made:
            cwd = tmp_path_factory.mktemp("whole")
            process = Process(project, cwd, *argv)
            assert process.wait() == 0, process.text()
            (made[argv],) = cwd.glob("runs/*")
        return made[argv]

    return whole_run


def the_run(cwd):
    (run,) = Path(cwd).glob("runs/*")
    return run


def assert_equal_to_the_bit(run, whole_run):
    for name in ("last.ckpt", "best.ckpt"):
        parts = [torch.load(path / "checkpoints" / name, weights_only=True) for path in (run, whole_run)]
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "epoch", "global_step"):
            assert same(parts[0][part], parts[1][part]), (name, part)
    assert (run / "metrics.csv").read_text() == (whole_run / "metrics.csv").read_text()
    assert (run / "metrics.json").read_text() == (whole_run / "metrics.json").read_text()
    files = [sorted(path.name for path in (folder / "checkpoints").iterdir()) for folder in (run, whole_run)]
    assert files[0] == files[1]


def killed_again_and_again(start, tmp_path, argv, *, kills, seed):
    """Kill a run at random moments and let it go on, until it is over; return how often it was killed."""
    moments = random.Random(seed)
    elsewhere = Path("/dev/shm" if Path("/dev/shm").is_dir() else tmp_path, f"tmp-{tmp_path.name}-{os.getpid()}")
    elsewhere.mkdir()
    killed = 0
    command = argv
    while True:
        begun = time.time()
        process = start(*command, TMPDIR=str(elsewhere))
        if killed < kills:
            process.wait_for_checkpoint(newer_than=begun)
            time.sleep(moments.uniform(0, 0.3))
            if process.popen.poll() is None:
                process.kill(signal.SIGKILL)
                killed += 1
                for path in the_run(tmp_path).glob("checkpoints/*.ckpt"):
                    torch.load(path, weights_only=True)  # whole, whenever the kill came
                command = ("--ckpt_path", "last")
                continue
        assert process.wait() == 0, process.text()
        break
    assert not list(elsewhere.glob("*.ckpt")), "checkpoints are not written in a temporary folder"
    shutil.rmtree(elsewhere)
    return killed


STORMS = [
    ((*MNIST, *OFTEN, "--max_epochs", "6"), 3),
    ((*GAN, *OFTEN, "--num_workers", "2"), 2),
]
SLOW_STORMS = [
    ((*MNIST, *OFTEN, "--num_workers", "2", "--val_check_interval", "7"), 6),
    ((*MNIST, *OFTEN, "--accumulate_grad_batches", "3", "--max_epochs", "8"), 6),
    ((*MNIST, *OFTEN, "--ema_decay", "0.9", "--save_top_k", "3"), 6),
    ((*MNIST, "--max_epochs", "12"), 6),
    ((*GAN, *OFTEN), 6),
    ((*GAN, "--max_epochs", "8", "--num_workers", "2"), 6),
]


@pytest.mark.parametrize(
    ("argv", "kills"), [*STORMS, *(pytest.param(*storm, marks=pytest.mark.slow) for storm in SLOW_STORMS)]
)
def test_killed_at_any_moment_a_run_ends_as_if_nothing_had_been(start, whole, tmp_path, argv, kills):
    killed = killed_again_and_again(start, tmp_path, argv, kills=kills, seed=kills)
    assert killed == kills
    run = the_run(tmp_path)
    assert_equal_to_the_bit(run, whole(*argv))
    assert not list(run.rglob("*.part")) + list(run.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("name", "status", "group"),
    [
        ("SIGTERM", 143, True),
        ("SIGINT", 130, True),
        *(
            pytest.param(name, status, False, marks=pytest.mark.slow)
            for name, status in (("SIGUSR1", 143), ("SIGHUP", 129))
        ),
    ],
)
def test_a_signal_saves_and_says_so(start, whole, tmp_path, name, status, group):
    argv = (*MNIST, *OFTEN, "--num_workers", "2" if group else "0")
    process = start(*argv)
    process.wait_for_checkpoint()
    assert process.kill(getattr(signal, name), group=group) == status
    last = the_run(tmp_path).relative_to(tmp_path) / "checkpoints" / "last.ckpt"
    # Workers that die of it may leave a traceback, and write it at the same time.
    assert process.text().count("stopped by") == 1
    assert f"main.py: stopped by {name}, checkpoint saved: resume with --ckpt_path {last}\n" in process.text()
    assert 'main.py", line' not in process.text()
    again = start("--ckpt_path", str(last))
    assert again.wait() == 0, again.text()
    assert_equal_to_the_bit(the_run(tmp_path), whole(*argv))


def test_a_process_of_these_tests_takes_signals_that_the_tests_ignore():
    script = "import signal; print([signal.getsignal(s) is signal.SIG_IGN for s in (signal.SIGINT, signal.SIGHUP)])"
    before = {signum: signal.signal(signum, signal.SIG_IGN) for signum in (signal.SIGINT, signal.SIGHUP)}
    try:
        process = popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.communicate(timeout=60) == ("[False, False]\n", None)
        assert {signal.getsignal(signum) for signum in before} == {signal.SIG_IGN}
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def test_a_signal_before_training_stops_at_once(start, tmp_path):
    process = start(*MNIST, cold=True)
    maps = Path(f"/proc/{process.popen.pid}/maps")
    wait_until(lambda: "libtorch" in maps.read_text(), process)  # torch is being imported
    assert process.kill(signal.SIGINT, group=True) == 130
    assert "Traceback" not in process.text()
    assert not list(tmp_path.glob("runs/*"))


TESTED_FOR_LONG = """
import time
from pathlib import Path

from models.my_model import MyModel


class Net(MyModel):
    def on_test_start(self):
        Path("tested").touch()
        time.sleep(100)
"""


def test_a_signal_after_training_stops_at_once(bake, start_in, tmp_path):
    project = bake(project_slug="tested-for-long", example_models=False)
    (project.path / "models" / "net.py").write_text(TESTED_FOR_LONG)
    process = start_in(project, "--model_name", "net", "--max_epochs", "1", "--limit_train_batches", "2")
    wait_until((tmp_path / "tested").exists, process)
    assert process.kill(signal.SIGINT, group=True) == 130
    assert "Traceback" not in process.text()
    assert torch.load(the_run(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2


def test_slurm_requeues_a_job_which_goes_on_by_itself(start, whole, tmp_path):
    stub = tmp_path / "bin" / "scontrol"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/requeued\n')
    stub.chmod(0o755)
    slurm = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0"}
    slurm["PATH"] = f"{stub.parent}:{os.environ['PATH']}"
    argv = (*MNIST, *OFTEN)
    process = start(*argv, **slurm)
    process.wait_for_checkpoint()
    assert process.kill(signal.SIGUSR1) == 143
    assert (tmp_path / "requeued").read_text() == "requeue 77\n"
    assert "main.py: job 77 is requeued" in process.text()
    again = start(*argv, **slurm, SLURM_RESTART_COUNT="1")
    assert again.wait() == 0, again.text()
    assert_equal_to_the_bit(the_run(tmp_path), whole(*argv))
    # another command line of the same job is another run
    other = start(*argv, "--max_epochs", "1", **slurm, SLURM_RESTART_COUNT="1")
    assert other.wait() == 0, other.text()
    assert len(list(tmp_path.glob("runs/*"))) == 2


def test_a_run_belongs_to_one_process(start, tmp_path):
    first = start(*MNIST, *OFTEN, "--max_epochs", "1000", "--num_workers", "2")
    first.wait_for_checkpoint()
    first.kill(signal.SIGKILL)  # its workers live a little longer, and hold nothing
    begun = time.time()
    owner = start("--ckpt_path", "last")
    owner.wait_for_checkpoint(newer_than=begun)
    second = start("--ckpt_path", "last")
    assert second.wait() == 2
    (line,) = [line for line in second.text().splitlines() if "error" in line]
    run = the_run(tmp_path).relative_to(tmp_path)
    assert f"{run} belongs to another run, which is process {owner.popen.pid} on " in line
    assert owner.popen.poll() is None
    for _ in range(3):  # the third one must not break off what the second has begun
        owner.popen.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert owner.wait() == 130
    assert "Traceback" not in owner.text()


def test_one_command_line_in_a_loop_ends_as_if_nothing_had_been(start, whole, tmp_path):
    """As a scheduler or a shell runs it again: it starts, resumes, and when all is done shows the metrics."""
    long = (*MNIST, *OFTEN, "--max_epochs", "12")
    argv, moments, kills = (*long, "--run_name", "base", "--ckpt_path", "auto"), random.Random(5), 0
    while True:
        process = start(*argv)
        try:
            status = process.popen.wait(moments.uniform(0.4, 1.5))
        except subprocess.TimeoutExpired:
            process.kill(moments.choice([signal.SIGKILL, signal.SIGTERM]))
            kills += 1
            assert kills < 200
            continue
        assert status == 0, process.text()
        break
    assert kills >= 2
    assert the_run(tmp_path).name == "base"
    assert_equal_to_the_bit(the_run(tmp_path), whole(*long))
    again = start(*argv)
    assert again.wait() == 0
    assert again.table() == process.table()


def test_of_two_starts_of_a_named_run_at_once_one_wins(start, tmp_path):
    argv = (*MNIST, *OFTEN, "--run_name", "base", "--ckpt_path", "auto")
    both = [start(*argv), start(*argv)]
    assert sorted(process.wait() for process in both) == [0, 2]
    loser = next(process for process in both if process.wait() == 2)
    assert re.search(r"base (belongs to another run, which is process \d+|holds a run already)", loser.text())


def test_a_loss_that_is_not_finite_stops_the_run_in_time(start, tmp_path):
    assert start("--max_epochs", "1").wait() == 0
    run = the_run(tmp_path)
    before = {path: path.read_bytes() for path in run.glob("checkpoints/*")}
    process = start("--ckpt_path", "last", "--max_epochs", "2", "--learning_rate", "1e30")
    assert process.wait() == 1
    (line,) = [line for line in process.text().splitlines() if "error" in line]
    assert line.startswith("main.py: error: the loss is not finite at step 2")
    assert "--terminate_on_nan no continues in spite of it" in line
    assert {path: path.read_bytes() for path in run.glob("checkpoints/*")} == before
    spoilt = start("--ckpt_path", "last", "--max_epochs", "2", "--learning_rate", "1e30", "--terminate_on_nan", "no")
    assert spoilt.wait() == 0, spoilt.text()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MB; only the superuser can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_and_a_read_only_one_lose_nothing(start, small_disk):
    assert start("--max_epochs", "1", cwd=small_disk).wait() == 0
    run = the_run(small_disk)
    before = {path: path.read_bytes() for path in run.glob("checkpoints/*")}
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(free - 300_000))
    last = ("--ckpt_path", str(run / "checkpoints" / "last.ckpt"))
    for argv in ((*last, "--max_epochs", "2"), ("--max_epochs", "1")):
        process = start(*argv, cwd=small_disk.parent, PL_TRAINER_DEFAULT_ROOT_DIR=str(small_disk / "runs"))
        assert process.wait() == 1, process.text()
        (line,) = [line for line in process.text().splitlines() if "error" in line]
        assert "No space left on device" in line
    assert {path: path.read_bytes() for path in run.glob("checkpoints/*")} == before
    assert not list(small_disk.rglob("*.part"))

    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for argv in ((*last, "--max_epochs", "2"), ("--max_epochs", "1"), ("test", *last)):
        process = start(*argv, cwd=small_disk.parent, PL_TRAINER_DEFAULT_ROOT_DIR=str(small_disk / "runs"))
        assert process.wait() == 1, process.text()
        (line,) = [line for line in process.text().splitlines() if "error" in line]
        assert "Read-only file system" in line


def test_without_room_for_a_file_the_last_checkpoint_stays(project, tmp_path):
    """The same with a limit on the size of files, for which nobody needs to be the superuser."""
    table = project.run("--max_epochs", "1", cwd=tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / table["run"]).glob("checkpoints/*")}
    script = 'ulimit -f 1000 && exec "$0" "$@"'
    command = [sys.executable, str(project.path / "main.py"), "--ckpt_path", "last", "--max_epochs", "2", *QUIET]
    result = subprocess.run(["sh", "-c", script, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert "main.py: error: [Errno 27]" in result.stderr.splitlines()[-1]
    assert {path: path.read_bytes() for path in (tmp_path / table["run"]).glob("checkpoints/*")} == before
    assert not list((tmp_path / table["run"]).rglob("*.part"))


@pytest.mark.parametrize("how", ["SIGTERM", pytest.param("SIGKILL", marks=pytest.mark.slow)])
def test_two_processes_go_on_as_one(start, whole, tmp_path, how):
    argv = (*MNIST, *OFTEN, *DDP)
    process = start(*argv)
    process.wait_for_checkpoint()
    status = process.kill(getattr(signal, how))
    assert status == {"SIGTERM": 143, "SIGKILL": -9}[how]
    if how == "SIGTERM":
        assert len([line for line in process.text().splitlines() if "stopped by" in line]) == 1
    again = start("--ckpt_path", "last")
    assert again.wait() == 0, again.text()
    assert_equal_to_the_bit(the_run(tmp_path), whole(*argv))


@pytest.mark.slow
def test_two_processes_of_a_gan_go_on_as_one(start, whole, tmp_path):
    argv = (*GAN, *OFTEN, *DDP[:-1], "ddp_find_unused_parameters_true")
    process = start(*argv)
    process.wait_for_checkpoint()
    process.kill(signal.SIGKILL)
    again = start("--ckpt_path", "last")
    assert again.wait() == 0, again.text()
    assert_equal_to_the_bit(the_run(tmp_path), whole(*argv))


def test_not_finite_in_two_processes_is_one_line(start, tmp_path):
    process = start("--learning_rate", "1e30", "--max_epochs", "2", *DDP)
    assert process.wait() == 1
    assert len([line for line in process.text().splitlines() if "not finite" in line]) == 1
    assert "Traceback" not in process.text()


def test_wandb_keeps_its_id(start, tmp_path):
    pytest.importorskip("wandb")
    environment = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    assert start("--max_epochs", "1", "--logger", "csv,wandb", **environment).wait() == 0
    more = start("--ckpt_path", "last", "--max_epochs", "2", **environment)
    assert more.wait() == 0, more.text()
    ids = {path.stem for path in the_run(tmp_path).glob("wandb/offline-run-*/*.wandb")}
    assert len(list(the_run(tmp_path).glob("wandb/offline-run-*"))) == 2
    assert len(ids) == 1
    with (the_run(tmp_path) / "metrics.csv").open() as file:
        assert {row["epoch"] for row in csv.DictReader(file)} >= {"0", "1"}


HYPERPARAMETERS_THAT_ARE_CODE = """
import torch
from pytorch_lightning import LightningModule, __version__

class Net(LightningModule):
    def __init__(self, **hparams):
        super().__init__()

content = {"state_dict": {}, "pytorch-lightning_version": __version__}
content["hyper_parameters"] = {"_instantiator": "bite.bite"}
torch.save(content, "stranger.ckpt")
try:
    Net.load_from_checkpoint("stranger.ckpt", weights_only=True)
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_checkpoint_that_names_code_bites_an_older_lightning_and_nothing_here(project, tmp_path):
    """The first is the control: the payload is live, also with safe loading."""
    (tmp_path / "bite.py").write_text("def bite(cls, hparams):\n    open('bitten', 'w').close()\n    return cls()\n")
    older = Path(sys.prefix) / "releases" / "2.6.5"
    for path in (f"{older}{os.pathsep}{tmp_path}", str(tmp_path)):
        (tmp_path / "bitten").unlink(missing_ok=True)
        result = project.python("-c", HYPERPARAMETERS_THAT_ARE_CODE, cwd=tmp_path, PYTHONPATH=path)
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "bitten").exists() == path.startswith(str(older)), result.stdout
    for command in ("fit", "test"):
        refused = project.python(
            "main.py", command, "--ckpt_path", "stranger.ckpt", cwd=tmp_path, PYTHONPATH=str(tmp_path)
        )
        assert refused.returncode == 2
        assert "names code to run: _instantiator in hyper_parameters" in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "bitten").exists()
    assert ">=2.6.6" in (project.path / "pyproject.toml").read_text()
