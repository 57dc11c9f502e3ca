"""Signals that end a run: at the end of a batch while a model trains, at once everywhere else."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Stopped(SystemExit):
    """The run ends because of a signal: with status 130 after Ctrl-C, and 143 after those of a scheduler.

    Args:
        signum: the signal.
        saved: the checkpoint that was written because of it.
    """

    def __init__(self, signum: int, saved: str | None = None) -> None:
        """Choose the exit status."""
        super().__init__(130 if signum == signal.SIGINT else 143)
        self.name, self.saved = signal.Signals(signum).name, saved

    def __str__(self) -> str:
        """Return what happened, and how to go on."""
        saved = f", and saved: --ckpt_path {self.saved} goes on" if self.saved else ""
        return f"stopped by {self.name}{saved}"


class _Inbox:
    """The signal that this process has received."""

    received: int | None = None
    waiting = False  # whether a signal waits for the end of a batch


def received() -> int | None:
    """Return the signal that this process has received, if one has."""
    return _Inbox.received


@contextmanager
def handled() -> Iterator[None]:
    """Raise Stopped where a signal arrives, instead of ending the process."""
    if threading.current_thread() is not threading.main_thread():  # Python has signals for this one alone
        yield
        return
    before = {signum: signal.signal(signum, _receive) for signum in SIGNALS}
    _Inbox.received = None
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def waiting() -> Iterator[None]:
    """Let signals wait for ``received`` to be asked; a second Ctrl-C does not wait.

    Raises:
        Stopped: at the end, if nobody asked; also in place of an error that came after a signal, as loaders raise
            whose worker processes got it, too.
    """
    _Inbox.waiting = True
    try:
        yield
    except Exception as error:
        if _Inbox.received is None:
            raise
        raise Stopped(_Inbox.received) from error
    finally:
        _Inbox.waiting = False
    if _Inbox.received is not None:
        raise Stopped(_Inbox.received)


def _receive(signum: int, frame: Any) -> None:
    again = _Inbox.received is not None
    _Inbox.received = _Inbox.received or signum
    if not _Inbox.waiting or (again and signum == signal.SIGINT):
        raise Stopped(signum)
    if hasattr(signal, "SIGCHLD"):
        # Worker processes may have got the same signal. That they end is no error now, but torch would raise one
        # in the middle of a step.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def requeue() -> None:
    """Let Slurm start this job again, where it runs under Slurm."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        print(f"job {job} could not be requeued: {str(reason).strip()}", file=sys.stderr)
    else:
        print(f"job {job} is requeued, and will go on by itself", file=sys.stderr)
