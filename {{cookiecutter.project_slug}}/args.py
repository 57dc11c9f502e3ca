"""What declares a flag needs: types for ``add_argument``, and the errors for what the user can mend."""

from argparse import ArgumentTypeError

from trainer_args import NO, YES


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


def positive_int(text: str) -> int:
    """Return ``text`` as an integer of at least 1, for ``add_argument(type=positive_int)``."""
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def count(text: str) -> int:
    """Return ``text`` as an integer of at least 0, for ``add_argument(type=count)``."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not an integer of at least 0")
    return int(text)


def positive_float(text: str) -> float:
    """Return ``text`` as a number above 0, for ``add_argument(type=positive_float)``."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def yes_no(text: str) -> bool:
    """Return ``text`` as a bool, for ``add_argument(type=yes_no, nargs="?", const=True)``: a switch."""
    if text.lower() not in (*YES, *NO, "1", "0"):
        raise ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text.lower() in (*YES, "1")
