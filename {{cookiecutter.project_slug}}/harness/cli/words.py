"""The words of a command line of main.py that repeats a run."""

import re
import shlex
from argparse import Action, ArgumentParser, BooleanOptionalAction, _AppendAction, _CountAction
from collections.abc import Sequence
from typing import Any

from harness.cli.config_files import as_setting, settable
from harness.errors import UsageError
from harness.trainer_args import NO, YES, TrainerFlag


def flag_words(parser: ArgumentParser, name: str, value: Any) -> list[str]:
    """Return the words that give a flag a value; none for a switch that is off, or where no value is the default.

    Args:
        parser: has the flag; if it has not, it will say so when it reads the words.
        name: of the flag, as in a config file.
        value: as in a config file, or a text as on the command line.

    Raises:
        UsageError: no words give the flag this value.
    """
    action, setting = settable(parser, name), as_setting(value)
    texts = ["none" if text is None else text for text in (setting if isinstance(setting, list) else [setting])]
    if action is None:
        return [f"--{name}={','.join(texts)}"]
    flag = next((each for each in action.option_strings if each.startswith("--")), action.option_strings[0])
    if setting is None and "none" not in getattr(action, "words", ()):
        if action.default is not None:
            raise UsageError(f"argument {flag}: it cannot be null")
        return []
    if action.type not in (None, str) or isinstance(value, float):  # YAML writes .inf what Python reads as inf
        texts = [re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text, flags=re.IGNORECASE) for text in texts]
    one = ",".join(texts)
    if action.nargs == 0:
        return switch_words(action, flag, one)
    if isinstance(action, _AppendAction):  # extend is one, too
        texts = after_default(action, flag, texts)
        return [f"{flag}={text}" for text in texts] if action.nargs is None else [flag, *texts] if texts else []
    if action.nargs not in (None, "?"):
        return [flag, *texts]
    return [f"{flag}={one},"] if isinstance(action, TrainerFlag) and setting == texts[:1] else [f"{flag}={one}"]


def after_default(action: Action, flag: str, texts: list[str]) -> list[str]:
    """Return what argparse is to add to the default of a flag that collects values.

    Raises:
        UsageError: the values do not begin with the default.
    """
    default = as_setting(list(action.default or []))
    if texts[: len(default)] != default:
        raise UsageError(f"argument {flag}: it adds to {','.join(default)}, which the values must begin with")
    return texts[len(default) :]


def switch_words(action: Any, flag: str, text: str) -> list[str]:
    """Return the words for a flag that takes no value: as yes or no, it stands or not; a count stands so many times.

    Raises:
        UsageError: none give it this value.
    """
    is_on, is_default = truth(text), text == as_setting(action.default)
    words: list[str] | None = [] if is_default else None
    if isinstance(action, _CountAction):
        more = int(text) - (action.default or 0) if text.isdecimal() else 0
        words = [flag] * more if more > 0 else words
    elif isinstance(action, BooleanOptionalAction):
        options = [each for each in action.option_strings if each.startswith("--no-") != is_on]
        words = options[:1] if is_on is not None and options else words
    elif text == as_setting(action.const) or (isinstance(action.const, bool) and is_on == action.const):
        words = [flag]
    elif is_on == bool(action.default):
        words = []
    if words is None:
        raise UsageError(f"argument {flag}: no words of a command line make it {text}")
    return words


def truth(text: str) -> bool | None:
    """Return what a text says, or None if it is neither yes nor no."""
    return text.lower() in YES if text.lower() in (*YES, *NO) else None


def shell_line(words: Sequence[str]) -> str:
    """Return the command line of main.py with these words."""
    return shlex.join(["python", "main.py", *words])
