"""One run of a sweep: in this process, or in processes of main.py."""

import gc
import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import sleep
from types import MappingProxyType
from typing import Any

from harness.errors import ModelError, RunError, UsageError
from harness.found import ROOT, said
from harness.runs import signals
from harness.runs.run import (
    CHECKPOINTS,
    CONFIG_FILE,
    ERROR_FILE,
    GIVEN_DIR,
    LAST,
    METRICS_FILE,
    REPORTS_FILE,
    is_over,
    locked,
    write_error,
)

POLL = 0.5  # seconds between looks at a run in another process
OUTPUT_FILE = "output.log"
# {% if cookiecutter.sweeps in ["hydra", "both"] %}
LAUNCHING = "PID_OF_LAUNCHING_PROCESS"  # environment variable
# {% endif %}
# What a run writes before its first checkpoint; nothing else in its directory is ever removed.
BEGINNINGS = (
    CONFIG_FILE,
    "hparams.yaml",
    "metrics.csv",
    "events.out.tfevents.*",
    CHECKPOINTS,
    ERROR_FILE,
    REPORTS_FILE,
)


def run_in(
    run_dir: Path,
    args: Namespace,
    words: Sequence[str],
    callbacks: Sequence[Any] = (),
    watch: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, float]:
    """Return the metrics of a run; what was killed in its directory goes on, and what is over there is not run again.

    On several devices it runs in processes of main.py, else in this one.

    Args:
        run_dir: a directory of its own.
        args: all flags, as ``train`` takes them.
        words: of the command line of main.py that is the same run.
        callbacks: more of them for the Trainer of a run in this process.
        watch: called every now and then while a run goes on in other processes; what it raises ends the run.
        environment: additional variables of a run in other processes.

    Raises:
        UsageError, RunError: the run cannot be done, or failed.
        Stopped: a signal has arrived; what was under way is saved.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    last = run_dir / CHECKPOINTS / LAST
    with locked(run_dir):
        if is_over(run_dir):
            return metrics_of(run_dir)
        if not last.exists():
            clear(run_dir)
        if runs_here(args):
            from harness import data as in_memory  # torch, which a process that only waits does not need
            from train import train

            if in_memory.kept is None:  # the next run here may want the same data
                in_memory.kept = {}
            goes_on = {"ckpt_path": str(last)} if last.exists() else {}
            return train(Namespace(**{**vars(args), **goes_on}), run_dir, callbacks)
    run_main([*words, *([f"--ckpt_path={last}"] if last.exists() else [])], run_dir, watch, environment)
    return metrics_of(run_dir)


def runs_here(args: Namespace) -> bool:
    """Return whether a run takes place in this process."""
    here = processes(args) == 1
    # {% if cookiecutter.sweeps in ["hydra", "both"] %}
    here = here and is_here()  # what kills a run must not kill a process on which a launcher's other jobs depend
    # {% endif %}
    return here


def metrics_of(run_dir: Path) -> dict[str, float]:
    """Return the metrics of a run that is over."""
    metrics: dict[str, float] = json.loads((run_dir / METRICS_FILE).read_text())
    return metrics


# {% if cookiecutter.sweeps in ["hydra", "both"] %}
def is_here() -> bool:
    """Return whether no launcher of Hydra's has brought this process into being."""
    return os.environ.get(LAUNCHING, str(os.getpid())) == str(os.getpid())


# {% endif %}
def clear(run_dir: Path) -> None:
    """Take away what a run that was killed before it saved has left in its directory."""
    for path in [path for pattern in BEGINNINGS for path in run_dir.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def processes(args: Namespace) -> int:
    """Return how many processes a run is made of."""
    if isinstance(args.devices, list):
        return len(args.devices)
    if args.devices == -1:
        import torch

        return max(torch.cuda.device_count(), 1)
    return args.devices if isinstance(args.devices, int) else 1


def run_main(
    words: Sequence[str],
    run_dir: Path,
    watch: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Run main.py; what it prints goes to ``output.log``.

    Raises:
        RunError: it ended with an error.
        Stopped: a signal has arrived; it was told to end.
    """
    # Started by Slurm for one process, Lightning would start no other; so named, a job is one that is typed in.
    variables = {
        **os.environ,
        **environment,
        GIVEN_DIR: str(run_dir),
        signals.WITH_PARENT: "yes",
        "SLURM_JOB_NAME": "interactive",
    }
    with (run_dir / OUTPUT_FILE).open("w+") as output, signals.waiting():
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "main.py"), *words],
            stdin=subprocess.PIPE,  # ends when this process does
            stdout=output,
            stderr=output,
            env=variables,
            start_new_session=True,
        )
        try:
            while process.poll() is None and signals.received() is None:
                sleep(POLL)
                watch()
        finally:
            if process.poll() is None:  # let it save
                process.terminate()
                process.wait()
        output.seek(0)
        lines = output.read().strip().splitlines()
    if process.returncode < 0:
        raise RunError(f"its process was killed by signal {-process.returncode}, by hand or for want of memory")
    if process.returncode > 0:
        said = [line.partition("error: ")[2] for line in lines if line.startswith("main.py: error: ")] or lines[-1:]
        raise RunError("".join(said[-1:]).partition(" (see main.py")[0] or f"exit status {process.returncode}")


def reason(error: BaseException, run_dir: Path) -> str:
    """Return in one line why a run failed; the traceback of an error in a model or elsewhere goes to ``error.txt``."""
    if isinstance(error, UsageError | RunError) and not isinstance(error, ModelError):
        return str(error)
    message = str(error) if isinstance(error, ModelError) else said(error)
    write_error(error.__cause__ or error, message, run_dir)
    return message


def free_memory() -> None:
    """Let go of what the last run has left."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
