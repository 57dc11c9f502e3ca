"""The words of a command line of main.py that repeats a run."""

import re
import shlex
from argparse import ArgumentParser, BooleanOptionalAction, _AppendAction, _CountAction
from collections.abc import Sequence
from typing import Any

from args import UsageError
from config_files import as_setting, settable
from trainer_args import NO, YES, TrainerFlag


def flag_words(parser: ArgumentParser, name: str, value: Any) -> list[str]:
    """Return the words that give a flag a value; none for a switch that is off, or where no value is the default.

    Args:
        parser: has the flag; if it has not, it will say so when it reads the words.
        name: of the flag, as in a config file.
        value: as in a config file, or a text as on the command line.

    Raises:
        UsageError: it is None, which the flag does not take.
    """
    action, setting = settable(parser, name), as_setting(value)
    texts = ["none" if text is None else text for text in (setting if isinstance(setting, list) else [setting])]
    if action is None:
        return [f"--{name}={','.join(texts)}"]
    flag = max(action.option_strings, key=len)
    if setting is None and "none" not in getattr(action, "words", ()):
        if action.default is not None:
            raise UsageError(f"argument {flag}: it cannot be null")
        return []
    if action.type not in (None, str):  # YAML writes .inf what Python reads as inf
        texts = [re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text, flags=re.IGNORECASE) for text in texts]
    one = ",".join(texts)
    if action.nargs == 0:
        return switch_words(action, flag, one)
    if isinstance(action, _AppendAction) and action.nargs is None:
        return [f"{flag}={text}" for text in texts]
    if action.nargs not in (None, "?"):
        return [flag, *texts]
    return [f"{flag}={one},"] if isinstance(action, TrainerFlag) and setting == texts[:1] else [f"{flag}={one}"]


def switch_words(action: Any, flag: str, text: str) -> list[str]:
    """Return the words for a flag that takes no value: as yes or no, it stands or not; a count stands so many times."""
    if isinstance(action, _CountAction) and text.isdecimal():
        return [flag] * int(text)
    if text.lower() not in (*YES, *NO):
        return [f"{flag}={text}"]  # the parser says what is wrong with it
    is_on = text.lower() in YES
    if isinstance(action, BooleanOptionalAction):
        return [next(each for each in action.option_strings if each.startswith("--no-") != is_on)]
    return [flag] if is_on == bool(action.const) else []


def shell_line(words: Sequence[str]) -> str:
    """Return the command line of main.py with these words."""
    return shlex.join(["python", "main.py", *words])
