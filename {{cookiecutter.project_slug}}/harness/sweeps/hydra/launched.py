"""The process of a job: who started it, who handles its signals, and what it logs."""

import logging
import os
import signal
from collections.abc import Mapping
from typing import Any

from harness.errors import Stopped

LAUNCHING = "LIT_LAUNCHING_PID"  # environment variable: number of the process that the user started


def is_here() -> bool:
    """Return whether this is the process that the user started, not one of a launcher."""
    return os.environ.get(LAUNCHING, str(os.getpid())) == str(os.getpid())


def hush_lightning() -> None:
    """Omit messages of Lightning that are the same in each run; Hydra's logging has the others."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)


def passed_on(stopped: Stopped, before: Mapping[str, Any]) -> str:
    """Pass a signal on to the handler before ours, now that the run has saved; that of submitit requeues the job.

    Args:
        stopped: the signal.
        before: the earlier handlers, by name of the signal.

    Returns:
        The error of that handler, if it has one.

    Raises:
        SystemExit: If the job is requeued.
    """
    handler = before.get(stopped.name)
    if callable(handler) and stopped.name != "SIGINT":  # which Python makes a KeyboardInterrupt
        try:
            handler(signal.Signals[stopped.name], None)
        except Exception as error:
            return str(error)
    return ""
