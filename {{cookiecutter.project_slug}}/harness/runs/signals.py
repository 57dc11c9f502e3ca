"""Signals that end a run: at the end of a batch while a model trains, at once everywhere else."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.errors import Stopped
from harness.runs.processes import ENDS_WITH_PARENT

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
AGAIN = "\nstopping at the end of this batch; Ctrl-C again stops at once\n"


@dataclass
class Inbox:
    """State of the signal handler of this process."""

    received: int | None = None  # the first signal that came
    waits: bool = False  # whether a signal waits until the loop asks for it
    follows: bool = False  # whether another process decides when this one ends
    pid: int | None = None  # of the process whose signals are handled: those that it forks have the handler, too


inbox = Inbox()


def received() -> int | None:
    """Return the signal that this process has received, if one has."""
    return inbox.received


@contextmanager
def handled(*, follows: bool = False) -> Iterator[Mapping[str, Any]]:
    """Raise Stopped where a signal arrives, instead of ending the process; those that are ignored stay so.

    Yields what has handled them before, by name. Within another ``handled`` it changes nothing, and yields nothing.

    Args:
        follows: ignore signals while none waits: the process that started this one will end it.
    """
    # Python has signals for the main thread alone.
    if inbox.pid == os.getpid() or threading.current_thread() is not threading.main_thread():
        yield {}
        return
    inbox.follows, inbox.pid = follows, os.getpid()
    if os.environ.pop(ENDS_WITH_PARENT, None):
        end_with_parent()
    signums = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {signum: signal.getsignal(signum) for signum in signums}
    if hasattr(signal, "SIGCHLD"):
        before[signal.SIGCHLD] = signal.getsignal(signal.SIGCHLD)  # see receive
    for signum in signums:
        if before[signum] not in (signal.SIG_IGN, None):
            signal.signal(signum, receive)
    try:
        yield {signal.Signals(signum).name: handler for signum, handler in before.items()}
    finally:
        for signum, handler in before.items():
            if handler is not None:
                signal.signal(signum, handler)
        inbox.received, inbox.pid, inbox.follows = None, None, False


def end_with_parent() -> None:
    """Send this process a SIGTERM when its standard input ends, as it does with the process that started it."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def run(main: Callable[[], None]) -> None:
    """Run a program; when it ends because of a signal, no further one is to break that off."""
    try:
        main()
    except Stopped:
        for name in NAMES:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        raise


@contextmanager
def waiting() -> Iterator[None]:
    """Let signals wait until the loop asks ``received()``; a second Ctrl-C does not wait.

    Raises:
        Stopped: at the end, if nobody asked; also in place of an error that came after a signal, as loaders raise
            whose worker processes got it, too.
    """
    inbox.waits = True
    try:
        yield
    except Exception as error:
        if inbox.received is None:
            raise
        raise Stopped(inbox.received) from error
    finally:
        inbox.waits = False
    if inbox.received is not None and not inbox.follows:
        raise Stopped(inbox.received)


def receive(signum: int, frame: Any) -> None:
    """Raise Stopped, or let the signal wait."""
    if inbox.follows and not inbox.waits:
        return
    again = inbox.received is not None
    inbox.received = inbox.received or signum
    if hasattr(signal, "SIGCHLD"):
        # Worker processes may have got the same signal. That they end is no error now, but torch would raise one
        # in the middle of a step.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not inbox.waits or (again and signum == signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)  # a third one must not break off what the second has begun
        raise Stopped(signum)
    if signum == signal.SIGINT and os.getpid() == inbox.pid and not inbox.follows:
        os.write(2, AGAIN.encode())
