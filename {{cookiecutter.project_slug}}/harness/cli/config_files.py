"""Config files: flags in YAML, where each value is a text for the flag's own type, as on the command line."""

import json
import re
from argparse import SUPPRESS, ArgumentError, ArgumentParser, ArgumentTypeError, Namespace, _AppendAction, _CountAction
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.flags import yes_no
from harness.trainer_args import GoneFlag, OffFlag, TrainerFlag


def apply_configs(
    parser: ArgumentParser, configs: Sequence[tuple[str, Mapping[str, Any]]], flags: Namespace
) -> list[tuple[str, str]]:
    """Put what config files set into ``flags``, but for what is there already; a later file wins.

    Args:
        parser: has the flags.
        configs: files by name, and what they set, from ``read_config``.
        flags: where it goes.

    Returns:
        The file and the name of each setting for which the parser has no flag.

    Raises:
        UsageError: a flag does not take what a file has.
    """
    given, unknown = set(vars(flags)), []
    for file, settings in configs:
        for name, setting in settings.items():
            action = settable(parser, name)
            if action is None:
                unknown.append((file, name))
            elif action.dest not in given:
                try:
                    apply_setting(parser, action, name, setting, flags)
                except Exception as error:  # a flag's own type may raise anything
                    expected = isinstance(error, ArgumentError | ArgumentTypeError | ValueError)
                    reason = getattr(error, "message", error) if expected else f"{type(error).__name__}: {error}"
                    raise UsageError(f"{file}: {name}: {reason}") from error
    return unknown


def settable(parser: ArgumentParser, name: str) -> Any:
    """Return the flag that a name in a config file stands for, or None; flags that print and exit cannot be set."""
    found = [action for action in parser._actions if name == action.dest or f"--{name}" in action.option_strings]
    return next((each for each in found if each.default != SUPPRESS or isinstance(each, OffFlag | GoneFlag)), None)


def read_config(file: str) -> dict[str, Any]:
    """Return the names in a file, each with a text, a list of texts, or None.

    Raises:
        UsageError: the file cannot be read, or has another form.
    """
    try:
        content = parse_config(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # a UnicodeError is a ValueError
        raise UsageError(f"--config {file} cannot be read: {error}") from error
    if "config" in content:
        raise UsageError(f"--config {file} names another one: give both on the command line, --config FIRST SECOND")
    return content


def parse_config(text: str) -> dict[str, Any]:
    """Return the names in the text of a config file, each with a text, a list of texts, or None.

    Raises:
        ValueError: it has another form.
    """
    import yaml  # 20 ms, for those who have a file

    class Texts(yaml.BaseLoader):
        """Reads all as text, but null: what a text means is for the flag to say."""

    Texts.add_implicit_resolver("null", re.compile(r"^(null|Null|NULL|~|)$"), None)
    Texts.add_constructor("null", lambda loader, node: None)
    try:
        content = yaml.load(text, Texts) or {}
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if not is_flat(content):
        raise ValueError("it must have one flag a line, as in max_epochs: 3")
    return content


def dump_config(flags: Mapping[str, Any]) -> str:
    """Return the text of a config file with these flags; it names no other file."""
    import yaml

    values = {name: plain(value) for name, value in flags.items() if name != "config"}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    # These ends of lines would come back as others.
    return yaml.safe_dump(values, sort_keys=False) if re.search("[\x85\u2028\u2029\ufeff]", text) else text


def plain(value: Any) -> Any:
    """Return a value as a config file has it: what is not plain becomes a text, such as its flag takes."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, list | dict) for item in value)):
        return json.dumps(value, default=str)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if hasattr(value, "item"):  # a number of numpy's or torch's
        return plain(value.item())
    return value if type(value) in (bool, int, float, str, type(None)) else str(value)


def is_flat(content: Any) -> bool:
    """Return whether this is a mapping from names to a text, a list of texts, or None each; None may be in lists."""
    if not isinstance(content, dict) or None in content:
        return False
    values = [value if isinstance(value, list) else [value or ""] for value in content.values()]
    return all(isinstance(item, str | None) for items in values for item in items)


def apply_setting(parser: ArgumentParser, action: Any, name: str, setting: Any, flags: Namespace) -> None:
    """Put what a config file has under ``name`` into ``flags``, by the type and choices of its flag ``action``.

    Raises:
        ArgumentError, ArgumentTypeError, ValueError: the flag does not take it.
    """
    action.required = False
    for group in parser._mutually_exclusive_groups:
        group.required = group.required and action not in group._group_actions
    if setting is None and action.default is None:
        setattr(flags, action.dest, None)
        return
    if setting is None and not isinstance(action, TrainerFlag):
        raise ArgumentError(action, "it cannot be null")
    if setting == as_setting(action.default):  # which need not be a value that the flag's type makes
        setattr(flags, action.dest, action.default)
        return
    texts = ["none" if text is None else text for text in (setting if isinstance(setting, list) else [setting])]
    if action.type not in (None, str):  # YAML writes .inf what Python reads as inf
        texts = [re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text, flags=re.IGNORECASE) for text in texts]
    if isinstance(action, TrainerFlag) and setting == texts[:1]:  # a list of one, as in --devices 1,
        texts = [f"{texts[0]},"]
    apply_texts(parser, action, name, texts, flags)


def as_setting(value: Any) -> Any:
    """Return what a value is in a config file that was written with it, and read again."""
    return parse_config(dump_config({"value": value}))["value"]


def apply_texts(parser: ArgumentParser, action: Any, name: str, texts: Sequence[str], flags: Namespace) -> None:
    """Put the value that texts have for a flag into ``flags``.

    Raises:
        ArgumentError, ArgumentTypeError, ValueError: the flag does not take them.
    """
    one = ",".join(texts)
    if isinstance(action, _CountAction):
        setattr(flags, action.dest, int(one))
    elif action.nargs == 0 and name == action.dest and not isinstance(action, OffFlag):
        setattr(flags, action.dest, yes_no(one))  # store_true and such have no value on the command line, but here
    elif action.nargs == 0:
        if yes_no(one):
            action(parser, flags, [], f"--{name}")
    elif isinstance(action, _AppendAction) and action.nargs is None:
        setattr(flags, action.dest, [parser._get_values(action, [text]) for text in texts])
    elif isinstance(action.nargs, int) and len(texts) != action.nargs:
        raise ArgumentError(action, f"expected {action.nargs} values")
    else:
        values = parser._get_values(action, [one] if action.nargs in (None, "?") else list(texts))
        action(parser, flags, values, f"--{name}")
