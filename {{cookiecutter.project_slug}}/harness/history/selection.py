"""Runs by their names, by the conditions of ``--where``, and in the order of ``--sort``."""

import operator
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import filterfalse
from math import isnan
from pathlib import Path
from time import time
from typing import Any

from harness.errors import UsageError
from harness.history.entries import Entry, is_run, number, read_entry, run_dirs
from harness.history.texts import as_text
from harness.words import truth

COLUMNS = ("name", "state", "model", "data", "epoch", "metric", "age")  # of the table
CONDITION = re.compile(r"\s*([\w./-]+)\s*(!=|<=|>=|==|=|<|>)\s*(.*?)\s*", re.DOTALL)
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def read_runs(root: Path, *, everything: bool = False) -> list[Entry]:
    """Return all runs below a folder, the one that began last first."""
    now = time()
    found = [read_entry(run_dir, name, now) for run_dir, name in run_dirs(root, everything=everything)]
    return sorted(found, key=lambda entry: (isnan(entry.age), entry.age, entry.name))


def find_run(root: Path, name: str) -> Entry:
    """Return the run of a name, which may be the path of its directory.

    Raises:
        UsageError: If there is none.
    """
    for run_dir in (root / name, Path(name)):
        if is_run(run_dir):
            return read_entry(run_dir, name_of(run_dir, root))
    near = get_close_matches(name, [known for _, known in run_dirs(root, everything=True)], n=1)
    raise UsageError(f"there is no run {name} below {root}" + (f"; did you mean {near[0]}?" if near else ""))


def find_runs(root: Path, names: Sequence[str]) -> list[Entry]:
    """Return the runs of names, each run once; a folder of runs, as --seeds makes one, names all runs in it.

    Raises:
        UsageError: If a name is that of no run.
    """
    found: dict[Path, Entry] = {}
    for name in names:
        folders = [path for path in (root / name, Path(name)) if path.is_dir() and not is_run(path)]
        inside = [run_dir for folder in folders[:1] for run_dir, _ in run_dirs(folder)]
        entries = [read_entry(run_dir, name_of(run_dir, root)) for run_dir in inside] or [find_run(root, name)]
        found |= {entry.dir.resolve(): entry for entry in entries}
    return list(found.values())


def name_of(run_dir: Path, root: Path) -> str:
    """Return the path of a run below the folder of all runs, or its own path if it is elsewhere."""
    return (run_dir.relative_to(root) if run_dir.is_relative_to(root) else run_dir).as_posix()


def condition(text: str, known: Sequence[Entry]) -> Callable[[Entry], bool]:
    """Return the function that checks whether a run fulfils a condition of ``--where``.

    Raises:
        UsageError: If the condition has another form, or no run knows its name.
    """
    match = CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"--where {text}: write NAME=VALUE, with one of = != < <= > >=, in quotes")
    name, sign, wanted = match.groups()
    limit = number(wanted)
    if sign in ORDERS and limit is None:
        raise UsageError(f"--where {text}: {wanted!r} is not a number")
    if name == "tag" and sign not in ORDERS:
        return lambda entry: (wanted in entry.tags) == (sign != "!=")
    require_known(f"--where {text}", name, known)

    def holds(entry: Entry) -> bool:
        value = entry.get(name)
        if sign in ORDERS:
            return (value := number(value)) is not None and ORDERS[sign](value, limit)
        return value is not None and is_same(value, wanted) == (sign != "!=")

    return holds


def require_known(what: str, name: str, known: Sequence[Entry]) -> None:
    """Raise UsageError if no run has a column, metric or flag of a name."""
    if known and name not in COLUMNS and all(entry.get(name) is None for entry in known):
        names = {each for entry in known for each in entry.names()} | set(COLUMNS)
        near = get_close_matches(name, names, n=1)
        raise UsageError(f"{what}: no run has {name}" + (f", did you mean {near[0]}?" if near else ""))


def is_same(value: Any, wanted: str) -> bool:
    """Return whether a value is that of a text: as a number, as yes or no, or as text."""
    text = as_text(value, exact=True)
    if number(text) is not None and number(wanted) is not None:
        return number(text) == number(wanted)
    return text == wanted or (truth(text) is not None and truth(text) == truth(wanted))


def in_order(found: Sequence[Entry], column: str) -> list[Entry]:
    """Return runs by a column, a metric or a flag; those without it are last.

    Raises:
        UsageError: If no run has it.
    """
    name = column.removeprefix("-")
    require_known(f"--sort {column}", name, found)

    def key(entry: Entry) -> tuple[bool, float, str]:
        value = number(entry.get(name))
        return value is None, value or 0.0, as_text(entry.get(name))

    def is_there(entry: Entry) -> bool:
        value = entry.get(name)
        return value not in (None, "") and value == value  # not NaN

    there = sorted(filter(is_there, found), key=key, reverse=column.startswith("-"))
    return [*there, *filterfalse(is_there, found)]
