"""Words of a command line, the one language for the values of flags: config files and checkpoints become words."""

import re
import shlex
from argparse import SUPPRESS, Action, ArgumentParser, BooleanOptionalAction, _AppendAction, _CountAction
from collections.abc import Sequence
from typing import Any

from harness.config_files import as_setting
from harness.errors import UsageError
from harness.trainer_args import NO, YES, GoneFlag, OffFlag, TrainerFlag


def find_action(parser: ArgumentParser, name: str) -> Any:
    """Return the flag of a name in a config file, or None; flags that print and exit have no value."""
    found = [action for action in parser._actions if name == action.dest or f"--{name}" in action.option_strings]
    return next((each for each in found if each.default != SUPPRESS or isinstance(each, OffFlag | GoneFlag)), None)


def flag_words(parser: ArgumentParser, name: str, value: Any) -> list[str]:
    """Return the words that give a flag a value; none for a value that is the default.

    Args:
        parser: the parser of the flag; a name that it does not have becomes a word that it will refuse.
        name: name of the flag, as in a config file.
        value: plain value as in a config file, or a text as on the command line.

    Raises:
        UsageError: If no words give the flag this value.
    """
    action, setting = find_action(parser, name), as_setting(value)
    texts = ["none" if text is None else text for text in (setting if isinstance(setting, list) else [setting])]
    if action is None:
        return [f"--{name}={','.join(texts)}"]
    flag = next((each for each in action.option_strings if each.startswith("--")), action.option_strings[0])
    if setting == as_setting(action.default):  # which need not be a value that the flag's type returns
        return []
    if setting is None and "none" not in getattr(action, "words", ()):
        raise UsageError(f"argument {flag}: it cannot be null")
    if action.type not in (None, str) or isinstance(value, float):  # YAML writes .inf for Python's inf
        texts = [re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text, flags=re.IGNORECASE) for text in texts]
    one = ",".join(texts)
    if action.nargs == 0:
        return switch_words(action, flag, one, is_dest=name == action.dest)
    if isinstance(action, _AppendAction):  # extend is one, too
        texts = after_default(action, flag, texts)
        return [f"{flag}={text}" for text in texts] if action.nargs is None else [flag, *texts] if texts else []
    if action.nargs not in (None, "?"):
        return [flag, *texts]
    return [f"{flag}={one},"] if isinstance(action, TrainerFlag) and setting == texts[:1] else [f"{flag}={one}"]


def after_default(action: Action, flag: str, texts: list[str]) -> list[str]:
    """Return the values that argparse adds to the default of a flag that collects values.

    Raises:
        UsageError: If the values do not begin with the default.
    """
    default = as_setting(list(action.default or []))
    if texts[: len(default)] != default:
        raise UsageError(f"argument {flag}: it adds to {','.join(default)}, which the values must begin with")
    return texts[len(default) :]


def switch_words(action: Any, flag: str, text: str, *, is_dest: bool) -> list[str]:
    """Return the words for a flag without a value: the flag, the flag several times for a count, or none.

    Args:
        action: the flag.
        flag: its name on the command line.
        text: a number for a count, else yes or no.
        is_dest: whether text is the value of the attribute; otherwise whether the flag is given.

    Raises:
        UsageError: If no words give the flag this value.
    """
    is_on = truth(text)
    words: list[str] | None = None
    if isinstance(action, _CountAction):
        more = int(text) - (action.default or 0) if text.isdecimal() else 0
        words = [flag] * more if more > 0 else None
    elif is_on is not None and (isinstance(action, OffFlag) or not is_dest):
        words = [flag] if is_on else []
    elif isinstance(action, BooleanOptionalAction):
        options = [each for each in action.option_strings if each.startswith("--no-") != is_on]
        words = options[:1] if is_on is not None and options else None
    elif text == as_setting(action.const) or (isinstance(action.const, bool) and is_on == action.const):
        words = [flag]
    elif is_on is not None and is_on == bool(action.default):
        words = []
    if words is None:
        problem = f"{text!r} is neither yes nor no" if is_on is None else f"no words give it the value {text}"
        raise UsageError(f"argument {flag}: {problem}")
    return words


def truth(text: str) -> bool | None:
    """Return the truth value of a text, or None if it is neither yes nor no."""
    return text.lower() in YES if text.lower() in (*YES, *NO) else None


def shell_line(words: Sequence[str]) -> str:
    """Return the command line of main.py with these words."""
    return shlex.join(["python", "main.py", *words])
