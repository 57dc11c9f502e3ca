"""Signals that end a run: at the end of a batch during training, immediately elsewhere."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.errors import Stopped
from harness.runs.processes import ENDS_WITH_PARENT

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
SIGNUMS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
AGAIN = "\nstopping at the end of this batch; Ctrl-C again stops at once\n"


@dataclass
class Inbox:
    """State of the signal handlers of this process."""

    received: int | None = None  # the first signal
    waits: bool = False  # whether signals wait until the loop reads them
    follows: bool = False  # whether another process ends this one
    pid: int | None = None  # of the process with the handlers, which forked processes inherit


inbox = Inbox()


def received() -> int | None:
    """Return the first signal that this process has received, or None."""
    return inbox.received


@contextmanager
def handled(*, follows: bool = False, ends: bool = False) -> Iterator[Mapping[str, Any]]:
    """Raise Stopped in this context when a signal arrives; ignored signals stay ignored.

    Yields the handlers before it by name of the signal. Within another ``handled`` it changes nothing, and yields none.

    Args:
        follows: whether to ignore signals unless they wait, since the process that started this one ends it.
        ends: whether the process ends after a signal; no further one interrupts its end.
    """
    # Python handles signals in the main thread alone.
    if inbox.pid == os.getpid() or threading.current_thread() is not threading.main_thread():
        yield {}
        return
    inbox.follows, inbox.pid = follows, os.getpid()
    if os.environ.pop(ENDS_WITH_PARENT, None):
        end_with_parent()
    before = {signum: signal.getsignal(signum) for signum in SIGNUMS}
    if hasattr(signal, "SIGCHLD"):
        before[signal.SIGCHLD] = signal.getsignal(signal.SIGCHLD)  # see receive
    take()
    hook = sys.unraisablehook
    sys.unraisablehook = partial(raise_again, hook)
    restored = before
    try:
        yield {signal.Signals(signum).name: handler for signum, handler in before.items()}
    except Stopped:
        if ends:
            restored = dict.fromkeys(before, signal.SIG_IGN)
        raise
    finally:
        sys.unraisablehook = hook
        for signum, handler in restored.items():
            if handler is not None:
                signal.signal(signum, handler)
        inbox.received, inbox.pid, inbox.follows = None, None, False


def take() -> None:
    """Put the handlers of this process in place of those of other libraries; ignored signals stay ignored."""
    if inbox.pid == os.getpid():
        for signum in SIGNUMS:
            if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                signal.signal(signum, receive)


def end_with_parent() -> None:
    """Send SIGTERM to this process when its standard input is closed, as by the end of the process that started it."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def waiting() -> Iterator[None]:
    """Let signals wait until the loop calls ``received``; a second Ctrl-C does not wait.

    Raises:
        Stopped: If a signal is left at the end. It replaces an error after the signal, such as that of a loader whose
            worker processes received the signal, too.
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
    """Handle a signal: raise Stopped, or let the signal wait."""
    if inbox.follows and not inbox.waits:
        return
    again = inbox.received is not None
    inbox.received = inbox.received or signum
    if hasattr(signal, "SIGCHLD"):
        # Worker processes may have received the same signal. Their end is no error now, but torch would raise one
        # within a step.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not inbox.waits or (again and signum == signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)  # a third one must not interrupt the end
        raise Stopped(signum)
    if signum == signal.SIGINT and os.getpid() == inbox.pid and not inbox.follows:
        os.write(2, AGAIN.encode())


def raise_again(otherwise: Callable[[Any], object], unraisable: Any) -> None:
    """Send a signal again whose Stopped Python has dropped, as it does in ``__del__`` and in callbacks of weakref."""
    error = unraisable.exc_value
    if not isinstance(error, Stopped):
        otherwise(unraisable)
        return

    signum = signal.Signals[error.name]

    def send() -> None:
        if inbox.pid == os.getpid():
            os.kill(os.getpid(), signum)

    signal.signal(signum, receive)
    threading.Timer(0.01, send).start()
