"""The errors that end a run in one line, and the end by a signal."""

import signal

STATUS = {"SIGINT": 130, "SIGHUP": 129}  # exit status; of the other signals, which schedulers send, 143


class UsageError(Exception):
    """What the user asked for cannot be done; the message says what and how to mend it."""


class RunError(Exception):
    """The run cannot go on; the message says why and how to mend it.

    Args:
        message: what is said.
        in_all_processes: whether all processes of a distributed run raise it, so that one can speak for all.
    """

    def __init__(self, message: str, *, in_all_processes: bool = True) -> None:
        """Remember the arguments."""
        super().__init__(message)
        self.in_all_processes = in_all_processes


class ModelError(RunError):
    """The user's own model or data failed: ``__cause__`` is their error, shown with its traceback above the message.

    Args:
        message: where it failed, on what, and what may help.
    """

    def __init__(self, message: str) -> None:
        """Speak for this process alone: others may fail otherwise, or not at all."""
        super().__init__(message, in_all_processes=False)


class Stopped(SystemExit):
    """The run ends because of a signal, with an exit status that no scheduler takes for success.

    Args:
        signum: the signal.
        saved: the checkpoint that was written because of it.
        together: whether all processes of a distributed run end now, each by itself.
    """

    def __init__(self, signum: int, saved: str | None = None, *, together: bool = False) -> None:
        """Choose the exit status."""
        self.name, self.saved, self.together = signal.Signals(signum).name, saved, together
        super().__init__(STATUS.get(self.name, 143))

    def __str__(self) -> str:
        """Return the signal, and how to resume."""
        saved = f", checkpoint saved: resume with --ckpt_path {self.saved}" if self.saved else ""
        return f"stopped by {self.name}{saved}"
