"""Types for ``add_argument``, such as ``type=positive_int``."""

from argparse import ArgumentTypeError

from harness.trainer_args import NO, YES


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
    """Return ``text`` as a bool, for a switch: ``add_argument(type=yes_no, nargs="?", const=True)``."""
    if text.lower() not in (*YES, *NO, "1", "0"):
        raise ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text.lower() in (*YES, "1")
