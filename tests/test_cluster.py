"""Jobs of a cluster: scripts and commands made from the flags, and run for real by Slurm and torchrun."""

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.conftest import missing_server, popen
from tests.slurm_node import free_ports, slurm_node, why_not

SHORT = ("--max_epochs", "30", "--limit_train_batches", "5", "--accelerator", "cpu", "--enable_progress_bar", "no")


def printed(project, tmp_path, *argv):
    result = project.python("main.py", *argv, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert not list(tmp_path.iterdir())
    return result.stdout.splitlines()


def wait_until(happened, seconds=120):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def assert_same_weights(run, other):
    one, two = (torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in (run, other))
    assert one["global_step"] == two["global_step"]
    assert all(torch.equal(value, two["state_dict"][name]) for name, value in one["state_dict"].items())
    assert (run / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


def test_a_script_has_what_the_flags_say(project, tmp_path):
    flags = ("--accelerator", "gpu", "--devices", "2", "--num_nodes", "3", "--num_workers", "3", "--run_name", "base")
    lines = printed(project, tmp_path, *flags, "--print_sbatch", "--sbatch", "time=1:00:00", "signal=USR2@60")
    assert lines == [
        "#!/bin/bash",
        "#SBATCH --job-name=base",
        "#SBATCH --nodes=3",
        "#SBATCH --ntasks-per-node=2",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --gres=gpu:2",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --output=runs/slurm/base-%j.log",
        "#SBATCH --time=1:00:00",
        "#SBATCH --signal=USR2@60",
        "",
        f"srun {shlex.join([sys.executable, str(project.path / 'main.py'), *flags, '--ckpt_path', 'auto'])}",
    ]


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (("--seeds", "1,2", "--workers", "2", "--num_workers", "1"), "#SBATCH --cpus-per-task=4"),
        (("--seeds", "1,2", "--workers", "2", "--accelerator", "gpu"), "#SBATCH --gres=gpu:2"),
        (("--accelerator", "gpu", "--devices", "0,3"), "#SBATCH --gres=gpu:2"),
        (("--notes", "two words", "--sbatch", "exclusive", "--max_epochs", "3"), "--notes 'two words' --max_epochs 3"),
        (("validate", "--ckpt_path", "none"), "main.py validate --ckpt_path none\n"),
        (("--debug",), "main.py --debug\n"),
    ],
)
def test_a_script_of(project, tmp_path, flags, wanted):
    assert wanted in "\n".join([*printed(project, tmp_path, *flags, "--print_sbatch"), ""])


def test_options_with_signs_of_slurm_arrive_whole(project, tmp_path):
    flags = ("--run_name", "base", "--default_root_dir", "my runs/100%")
    more = ("--sbatch", 'comment=a "b" #c \\d', "--sbatch", "partition=gpu")
    lines = printed(project, tmp_path, *flags, "--print_sbatch", *more)
    assert '#SBATCH --output="my runs/100%%/slurm/base-%j.log"' in lines
    assert '#SBATCH --comment="a \\"b\\" \\#c \\\\d"' in lines
    assert "#SBATCH --partition=gpu" in lines


def test_a_config_file_does_not_submit_the_job_that_reads_it(project, tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text("submit: true\n")
    result = project.python("main.py", "--config", "job.yaml", cwd=tmp_path, PATH="/nowhere")
    assert result.returncode == 2
    assert "job.yaml: --submit is for the command line alone: give it there" in result.stderr
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "sbatch runs/slurm/base.sbatch ended with status 3"),
        ("echo closed today; exit 1", "--submit: closed today"),
        (r"printf 'hello \377\n'", "sbatch runs/slurm/base.sbatch printed no number of a job (hello \ufffd); squeue"),
        ("echo Welcome; echo '12;main'", None),
    ],
)
def test_every_answer_of_sbatch_is_understood(project, tmp_path, script, message):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(f"#!/bin/sh\n{script}\n")
    sbatch.chmod(0o755)
    result = project.python("main.py", "--submit", "--run_name", "base", cwd=tmp_path, PATH=str(tmp_path))
    if message is None:
        assert result.stdout.split()[:2] == ["job", "12"]
        assert result.stderr == ""
    else:
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert message in line


def test_commands_of_torchrun(project, tmp_path):
    (alone,) = printed(project, tmp_path, "--devices", "4", "--run_name", "base", "--print_torchrun")
    program = shlex.quote(str(project.path / "main.py"))
    assert alone == (f"torchrun --standalone --nproc_per_node=4 {program} --devices 4 --run_name base --ckpt_path auto")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--submit", "--print_sbatch"), "--print_sbatch and --submit exclude each other: give one of them"),
        (("--sbatch", "time=1"), "--sbatch is for --submit and --print_sbatch: add one of them"),
        (("--submit", "--sbatch", "time = 1"), "'time = 1' is not of the form NAME=VALUE"),
        (("--submit", "--sbatch", "wrap=a\nb"), "is not of the form NAME=VALUE"),
        (("--print_sbatch", "--devices", "-1"), "--devices -1 depends on the node"),
        (("--submit", "--layer_1_dim", "x"), "argument --layer_1_dim"),
    ],
)
def test_a_job_that_cannot_be_is_one_line(project, tmp_path, flags, message):
    result = project.python("main.py", *flags, cwd=tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


def test_without_slurm_it_is_one_line(project, tmp_path):
    result = project.python("main.py", "--submit", cwd=tmp_path, PATH="/nowhere")
    assert result.returncode == 1
    assert result.stderr == (
        "main.py: error: --submit: there is no sbatch on this machine; --print_sbatch prints the script\n"
    )


def test_a_submitted_job_is_requeued_and_ends_as_if_nothing_had_stopped_it(project, tmp_path):
    if reason := why_not():
        missing_server(reason)
    run = tmp_path / "runs" / "base"
    with slurm_node(tmp_path / "slurm") as environment:
        flags = (*SHORT, "--run_name", "base", "--submit", "--sbatch", "mem=2G")
        result = project.python("main.py", *flags, cwd=tmp_path, **environment)
        assert result.returncode == 0, result.stderr
        table = dict(line.split() for line in result.stdout.splitlines())
        wait_until((run / "checkpoints" / "last.ckpt").exists)
        subprocess.run(["scancel", "--signal=USR1", table["job"]], env=environment, check=True)
        wait_until((run / "metrics.json").exists)
        log = (tmp_path / table["output"]).read_text()
        refused = project.python("main.py", *flags, "partition=none", cwd=tmp_path, **environment)
    assert f"job {table['job']} is requeued" in log
    (line,) = refused.stderr.splitlines()
    assert refused.returncode == 1
    assert line.startswith("main.py: error: --submit: ")
    assert "invalid partition specified: none" in line
    project.run(*SHORT, "--default_root_dir", "unbroken", "--run_name", "base", cwd=tmp_path)
    assert_same_weights(run, tmp_path / "unbroken" / "base")


@pytest.mark.slow
def test_two_nodes_of_torchrun_are_one_run_which_resumes(project, tmp_path):
    flags = (*SHORT, "--num_nodes", "2", "--devices", "1", "--strategy", "ddp", "--run_name", "base")
    nodes = printed(project, tmp_path, *flags, "--print_torchrun")
    run = tmp_path / "runs" / "base"
    folder = os.path.dirname(sys.executable)

    def start(cwd):
        port, _ = free_ports("127.0.0.1")
        environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "MASTER_ADDR": "127.0.0.1"}
        environment |= {"OMP_NUM_THREADS": "1"}
        cwd.mkdir(exist_ok=True)
        commands = [command.replace("29500", str(port)) for command in nodes]
        return [
            popen(["bash", "-c", f"exec {command}"], cold=True, cwd=cwd, env=environment, stderr=subprocess.DEVNULL)
            for command in commands
        ]

    first = start(tmp_path)
    wait_until((run / "checkpoints" / "last.ckpt").exists)
    for process in first:
        process.send_signal(signal.SIGTERM)
    for process in first:
        assert process.wait(timeout=120) != 0
    assert not (run / "metrics.json").exists()
    for process in [*start(tmp_path), *start(tmp_path / "unbroken")]:
        assert process.wait(timeout=200) == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["base"]
    assert_same_weights(run, tmp_path / "unbroken" / "runs" / "base")
