"""The errors that end a run in one line, and the end by a signal."""

import signal
from collections.abc import Mapping

STATUS = {"SIGINT": 130, "SIGHUP": 129}  # exit status; other signals, which schedulers send, have 143


class UsageError(Exception):
    """Wrong flags, files or code of the user; the message names the mistake and a remedy."""


class RunError(Exception):
    """A failure of the run; the message names the reason and a remedy.

    Args:
        message: the text to print.
        in_all_processes: whether all processes of a distributed run raise it, so that one prints it for all.
    """

    def __init__(self, message: str, *, in_all_processes: bool = True) -> None:
        super().__init__(message)
        self.in_all_processes = in_all_processes


class ModelError(RunError):
    """An error in the user's model or data: ``__cause__``, whose traceback is printed above the message.

    Args:
        message: the place, the batch and a possible remedy.
    """

    def __init__(self, message: str) -> None:
        # Other processes may fail otherwise, or not at all.
        super().__init__(message, in_all_processes=False)


class Finished(Exception):  # noqa: N818  # it is no error
    """The run of ``--run_name`` with ``--ckpt_path auto`` has come to its end before.

    Args:
        results: the table that the program prints.
    """

    def __init__(self, results: Mapping[str, float | str]) -> None:
        self.results = results
        super().__init__(f"{results['run']} is finished")


class Stopped(SystemExit):
    """The end of a run by a signal, with an exit status that no scheduler takes for success.

    Args:
        signum: the signal.
        saved: the checkpoint written because of it.
        together: whether every process of a distributed run ends by itself now.
    """

    def __init__(self, signum: int, saved: str | None = None, *, together: bool = False) -> None:
        self.name, self.saved, self.together = signal.Signals(signum).name, saved, together
        super().__init__(STATUS.get(self.name, 143))

    def __str__(self) -> str:
        """Return the signal, and how to resume."""
        saved = f", checkpoint saved: resume with --ckpt_path {self.saved}" if self.saved else ""
        return f"stopped by {self.name}{saved}"
