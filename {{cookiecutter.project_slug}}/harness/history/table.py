"""``main.py runs``: the table of all runs, and the same as JSON."""

import json
from argparse import Namespace
from math import isfinite, isnan
from pathlib import Path
from textwrap import shorten
from typing import Any

from harness.history.entries import Entry
from harness.history.selection import COLUMNS, condition, in_order, read_runs
from harness.history.texts import as_text, print_table

LONGEST = 60  # signs of an error in the table; show has the rest
UNITS = {"d": 86400, "h": 3600, "min": 60, "s": 1}


def list_runs(args: Namespace, root: Path) -> None:
    """Print the table of the runs, or JSON."""
    found = read_runs(root, everything=args.all)
    conditions = [condition(text, found) for text in args.where]
    found = [entry for entry in found if all(holds(entry) for holds in conditions)]
    if args.sort:
        found = in_order(found, args.sort)
    if args.json:
        print(json.dumps([finite(as_dict(entry)) for entry in found], indent=2))
        return
    if not found:
        print(f"there is no {'such run' if args.where else 'run'} below {root}")
        return
    titles = [*COLUMNS, *(["error"] if any(entry.error for entry in found) else [])]
    print_table([titles, *(cells(entry)[: len(titles)] for entry in found)])


def cells(entry: Entry) -> list[str]:
    """Return the row of a run."""
    metric = f"{entry.monitor} {as_text(entry.get('metric'))}" if entry.get("metric") is not None else ""
    unit = next((unit for unit, size in UNITS.items() if entry.age >= size), "s")
    age = "" if isnan(entry.age) else f"{max(entry.age, 0) // UNITS[unit]:.0f} {unit}"
    texts = [as_text(entry.get(column)) for column in COLUMNS[:5]]
    return [*texts, metric, age, as_text(shorten(entry.error, LONGEST, placeholder=" ..."))]


def as_dict(entry: Entry) -> dict[str, Any]:
    """Return what ``--json`` prints of a run."""
    names = ("name", "state", "error", "model", "data", "epoch", "monitor", "metric", "age", "commit", "begin", "end")
    facts = {"tags": entry.tags, "notes": entry.record.get("notes"), "metrics": entry.metrics, "dir": str(entry.dir)}
    return {**{name: entry.get(name) for name in names}, **facts}


def finite(value: Any) -> Any:
    """Return a value with None in place of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value
