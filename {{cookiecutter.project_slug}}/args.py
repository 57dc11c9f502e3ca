"""The pieces of the command line: a strict parser with one-line errors, and the number types of flags."""

from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, ArgumentTypeError
from typing import Any, NoReturn


class UsageError(Exception):
    """What the user asked for cannot be done; the message says what and how to mend it."""


class Parser(ArgumentParser):
    """An ArgumentParser that takes no abbreviations, shows defaults and answers a mistake in one line."""

    def __init__(self, **kwargs: Any) -> None:
        """Take what ArgumentParser takes."""
        # "resolve", for a model whose parser brings its own -h: it would clash with the one here.
        kwargs |= {"conflict_handler": "resolve", "allow_abbrev": False}
        super().__init__(formatter_class=ArgumentDefaultsHelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print the message on one line and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see {self.prog} --help)\n")


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
