"""Config files: flags in YAML, one per line, whose values are texts as on the command line."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from harness.errors import UsageError

# Makers of the JSON schema for the names of flags, by model and data: those that this process has parsed flags of.
schemas: dict[tuple[Any, Any], Callable[[Collection[str]], str]] = {}


def read_config(file: str) -> dict[str, Any]:
    """Return the names in a file, each with a text, a list of texts, or None.

    Raises:
        UsageError: If the file cannot be read, or has another form.
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
        ValueError: If it has another form.
    """
    import yaml  # 20 ms, needed for files alone

    class Texts(yaml.BaseLoader):
        """Loader that reads scalars other than null as text, for the type of the flag to convert."""

    Texts.add_implicit_resolver("null", re.compile(r"^(null|Null|NULL|~|)$"), None)
    Texts.add_constructor("null", lambda loader, node: None)
    try:
        content = yaml.load(text, Texts) or {}
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if not is_flat(content):
        raise ValueError("it must have one flag a line, as in max_epochs: 3")
    return content


def is_flat(content: Any) -> bool:
    """Return whether content maps names to a text, a list of texts, or None; lists may contain None."""
    if not isinstance(content, dict) or None in content:
        return False
    values = [value if isinstance(value, list) else [value or ""] for value in content.values()]
    return all(isinstance(item, str | None) for items in values for item in items)


def dump_config(flags: Mapping[str, Any]) -> str:
    """Return the text of a config file with these flags; ``config`` itself is left out."""
    import yaml

    values = {name: plain(value) for name, value in flags.items() if name != "config"}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    # YAML changes these line ends unless they are escaped.
    return yaml.safe_dump(values, sort_keys=False) if re.search("[\x85\u2028\u2029\ufeff]", text) else text


def as_setting(value: Any) -> Any:
    """Return the text, list of texts or None that a config file written with a value is read as."""
    return parse_config(dump_config({"value": value}))["value"]


def plain(value: Any) -> Any:
    """Return a value as a config file stores it: values that are not plain become the text that their flag takes."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, list | dict) for item in value)):
        return json.dumps(value, default=str)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if hasattr(value, "item"):  # a number of numpy's or torch's
        return plain(value.item())
    return value if type(value) in (bool, int, float, str, type(None)) else str(value)
