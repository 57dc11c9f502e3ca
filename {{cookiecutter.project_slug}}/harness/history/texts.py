"""Values as text, and tables of them."""

from collections.abc import Sequence
from typing import Any


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print("\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows))


def as_text(value: Any, *, exact: bool = False) -> str:
    """Return a value in one line, numbers with four digits unless ``exact``; nothing for None."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {as_text(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ",".join(as_text(each, exact=exact) for each in value)
    if isinstance(value, float) and not exact:
        return f"{value:.4g}"
    text = "" if value is None else ("no", "yes")[value] if isinstance(value, bool) else str(value)
    return "".join(sign if sign.isprintable() else " " for sign in text)
