"""One run of a sweep: in this process, or in processes of a program such as main.py."""

import gc
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from types import MappingProxyType
from typing import Any

from harness.errors import ModelError, RunError, UsageError
from harness.found import ROOT, describe_error
from harness.runs import signals
from harness.runs.processes import ENDS_WITH_PARENT, GROUP, RUN_DIR
from harness.runs.run import (
    CHECKPOINTS,
    CONFIG_FILE,
    ERROR_FILE,
    LAST,
    clear,
    is_finished,
    locked,
    metrics_of,
    write_config,
    write_error,
)

POLL = 0.5  # seconds between two looks at a run in other processes
OUTPUT_FILE = "output.log"

# Trains a model with flags, in a directory, with additional callbacks; returns the last value of each metric.
Train = Callable[..., Mapping[str, float]]


def run_in(
    run_dir: Path,
    args: Namespace,
    train: Train,
    callbacks: Sequence[Any] = (),
    *,
    here: bool | None = None,
    program: str = "main.py",
    watch: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, float]:
    """Return the metrics of a run: a killed one is resumed, a finished one is not repeated.

    Its flags are in ``config.yaml``, even if it fails before its first batch.

    Args:
        run_dir: its directory, which no other run uses.
        args: all flags, as ``train`` takes them.
        train: function that trains in this process.
        callbacks: additional callbacks of a run in this process.
        here: whether it runs in this process; by default unless it is distributed over several.
        program: file of the root that runs it in other processes, with ``--config``.
        watch: called regularly during a run in other processes; any exception ends the run.
        environment: additional variables of a run in other processes.

    Raises:
        UsageError, RunError: If the flags are refused, or the run fails.
        Stopped: If a signal arrives; the run has saved.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    last, config = run_dir / CHECKPOINTS / LAST, run_dir / CONFIG_FILE
    with locked(run_dir):
        if is_finished(run_dir):
            return metrics_of(run_dir)
        if not last.exists():
            clear(run_dir)
    if processes(args) == 1 if here is None else here:
        from harness import data  # torch, which a process that only waits does not need

        if data.dataset_cache is None:  # the next run in this process may use the same data
            data.dataset_cache = {}
        resumed = {"ckpt_path": str(last)} if last.exists() else {}
        try:
            return dict(train(Namespace(**{**vars(args), **resumed}), run_dir, callbacks=callbacks))
        finally:
            if not config.exists():  # refused
                write_config(vars(args), run_dir)
    if not config.exists():
        write_config(vars(args), run_dir)
    resume = [f"--ckpt_path={last}"] if last.exists() else []
    run_program([program, f"--config={config}", *resume], run_dir, watch, environment)
    return metrics_of(run_dir)


@contextmanager
def in_group(name: str) -> Iterator[None]:
    """Let trackers group the runs of a sweep under a name."""
    before = os.environ.get(GROUP)
    os.environ[GROUP] = before or name
    try:
        yield
    finally:
        if before is None:
            del os.environ[GROUP]


def processes(args: Namespace) -> int:
    """Return the number of processes of a run."""
    if isinstance(args.devices, list):
        return len(args.devices)
    if args.devices == -1:
        import torch

        return max(torch.cuda.device_count(), 1)
    return args.devices if isinstance(args.devices, int) else 1


def run_program(
    words: Sequence[str],
    run_dir: Path,
    watch: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Run a program of the root; its output goes to ``output.log``.

    Args:
        words: its command line.
        run_dir: directory of the run.
        watch: called regularly; any exception ends the run.
        environment: additional variables.

    Raises:
        RunError: If it fails.
        Stopped: If a signal arrives; the run has saved.
    """
    # Under Slurm, Lightning would start no further process on this machine; an interactive job is left alone.
    variables = {
        **os.environ,
        **environment,
        RUN_DIR: str(run_dir),
        ENDS_WITH_PARENT: "yes",
        "SLURM_JOB_NAME": "interactive",
    }
    with (run_dir / OUTPUT_FILE).open("w+") as output, signals.waiting():
        process = subprocess.Popen(
            [sys.executable, str(ROOT / words[0]), *words[1:]],
            stdin=subprocess.PIPE,  # closed when this process ends
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
            if process.poll() is None:  # it saves
                process.terminate()
                process.wait()
        output.seek(0)
        lines = output.read().strip().splitlines()
    if process.returncode < 0:
        raise RunError(f"its process was killed by signal {-process.returncode}, by hand or for want of memory")
    if process.returncode > 0:
        errors = [line.partition("error: ")[2] for line in lines if line.startswith(f"{words[0]}: error: ")] or lines[
            -1:
        ]
        raise RunError("".join(errors[-1:]).partition(f" (see {words[0]}")[0] or f"exit status {process.returncode}")


def reason(error: BaseException, run_dir: Path) -> str:
    """Return the reason for the failure of a run in one line; ``error.txt`` has it in full, with any traceback."""
    file = run_dir / ERROR_FILE
    if isinstance(error, UsageError | RunError) and not isinstance(error, ModelError):
        if not file.exists() and run_dir.is_dir():  # processes of a run have written their own
            file.write_text(f"{error}\n", encoding="utf-8")
        return str(error)
    message = str(error) if isinstance(error, ModelError) else describe_error(error)
    write_error(error.__cause__ or error, message, run_dir)
    return message


def free_memory() -> None:
    """Free the memory of the last run."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
