"""What a job knows of how it was launched."""

import os
import signal
from collections.abc import Mapping
from typing import Any

from harness.errors import Stopped

LAUNCHING = "PID_OF_LAUNCHING_PROCESS"  # environment variable


def is_here() -> bool:
    """Return whether this is the process that the user started, not one of a launcher."""
    return os.environ.get(LAUNCHING, str(os.getpid())) == str(os.getpid())


def passed_on(stopped: Stopped, before: Mapping[str, Any]) -> str:
    """Let what handled a signal before know of it, now that the run has saved: submitit starts the job again.

    Returns:
        What it says if it does not.

    Raises:
        SystemExit: it does.
    """
    handler = before.get(stopped.name)
    if callable(handler) and stopped.name != "SIGINT":  # which Python makes a KeyboardInterrupt
        try:
            handler(signal.Signals[stopped.name], None)
        except Exception as error:
            return str(error)
    return ""
