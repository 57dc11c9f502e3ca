"""``main.py runs``: a table of all runs; one of them, two compared, the best checkpoint, removal. Needs no torch."""

import json
import operator
import os
import re
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import filterfalse
from math import isfinite, isnan
from pathlib import Path
from textwrap import shorten
from time import time
from typing import Any

from harness.cli.habits import require_command
from harness.cli.parser import Parser
from harness.cli.run_flags import TRAINER_DEFAULTS
from harness.cli.sources import environment_flags
from harness.errors import UsageError
from harness.runs.entries import Entry, is_run, number, read_entry, run_dirs
from harness.runs.run import BEST, CHECKPOINTS, is_locked, locked
from harness.words import truth

WORDS = ("show", "diff", "best", "rm")
USAGE = """%(prog)s runs [--all] [--where CONDITION ...] [--sort [-]COLUMN] [--json]
       %(prog)s runs show NAME
       %(prog)s runs diff NAME NAME
       %(prog)s runs best METRIC [--mode min|max]
       %(prog)s runs rm NAME ... [--yes]"""
DESCRIPTION = "List the runs below --default_root_dir; show one, compare two, find the best checkpoint, remove some."
CONDITION = re.compile(r"\s*([\w./-]+)\s*(!=|<=|>=|==|=|<|>)\s*(.*?)\s*", re.DOTALL)
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
COLUMNS = ("name", "state", "model", "data", "epoch", "metric", "age")
LONGEST = 60  # signs of an error in the table; show has the rest
UNITS = {"d": 86400, "h": 3600, "min": 60, "s": 1}


def runs(argv: Sequence[str]) -> None:
    """Run a command line after the word ``runs``, and print its result.

    Args:
        argv: the words.

    Raises:
        UsageError: If a word is unknown, or names no run; nothing is changed.
    """
    words = list(argv)
    if words and not words[0].startswith("-"):
        require_command(words[0], WORDS)
    word = words.pop(0) if words and words[0] in WORDS else "list"
    if "--sort" in words[:-1]:  # argparse takes -val_loss for a flag
        at = words.index("--sort")
        words[at : at + 2] = [f"--sort={words[at + 1]}"]
    parser = Parser(usage=USAGE, description=DESCRIPTION, add_help=True)
    add_args(parser, word)
    args = parser.parse_args(words)
    commands = {"list": list_runs, "show": show_run, "diff": show_difference, "best": show_best, "rm": remove}
    try:
        commands[word](args, root_of(args))
        sys.stdout.flush()
    except BrokenPipeError:  # of ``runs | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def add_args(parser: Parser, word: str) -> None:
    """Add the flags of ``runs``, or those of a word after it, to a parser."""
    parser.add_argument("--default_root_dir", metavar="DIR", help="folder of all runs (default: runs)")
    if word == "list":
        parser.add_argument("--all", action="store_true", help="list runs in deeper folders, too")
        text = "select runs by a flag, a metric or a column, as in 'val_loss<0.1' model_name=net tag=a; all must hold"
        parser.add_argument("--where", nargs="+", action="extend", default=[], metavar="CONDITION", help=text)
        parser.add_argument("--sort", metavar="COLUMN", help="column, metric or flag; -COLUMN: descending")
        parser.add_argument("--json", action="store_true", help="print JSON")
    elif word == "best":
        parser.add_argument("metric", metavar="METRIC", help="metric of the runs")
        parser.add_argument("--mode", choices=["min", "max"], help="which is better; default: of runs that monitor it")
    else:
        count: Any = {"show": 1, "diff": 2, "rm": "+"}[word]
        names = parser.add_argument("names", nargs=count, metavar="NAME", help="name of a run, as in the table")
        names.completer = completed  # type: ignore[attr-defined]
    if word == "rm":
        parser.add_argument("--yes", action="store_true", help="do not ask")


def completed(parsed_args: Namespace, **_: Any) -> list[str]:
    """Return the names of the runs, for argcomplete."""
    return [name for _, name in run_dirs(root_of(parsed_args), everything=True)]


def root_of(args: Namespace) -> Path:
    """Return the folder of all runs: of the flag, else of the environment, else the default."""
    defaults = {**TRAINER_DEFAULTS, **vars(environment_flags())}
    return Path(args.default_root_dir or str(defaults["default_root_dir"] or "."))


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
            return read_entry(run_dir, name)
    near = get_close_matches(name, [known for _, known in run_dirs(root, everything=True)], n=1)
    raise UsageError(f"there is no run {name} below {root}" + (f"; did you mean {near[0]}?" if near else ""))


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


def condition(text: str, known: Sequence[Entry]) -> Callable[[Entry], bool]:
    """Return the function that tells whether a run fulfils a condition of ``--where``.

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


def show_run(args: Namespace, root: Path) -> None:
    """Print everything that is known of a run."""
    entry = find_run(root, args.names[0])
    files = sorted(entry.dir.glob(f"{CHECKPOINTS}/*.ckpt"))
    parts = {
        "run": {"dir": str(entry.dir), **entry.record, "state": entry.state, "error": entry.error},
        "metrics": entry.metrics,
        "checkpoints": {file.name: f"{file.stat().st_size / 1e6:.1f} MB" for file in files},
        "flags": entry.flags(),
    }
    for title, content in parts.items():
        lines = [f"  {name:<25} {as_text(value)}" for name, value in content.items() if as_text(value)]
        if lines:
            print("\n".join([f"{title}:", *lines]))


def show_difference(args: Namespace, root: Path) -> None:
    """Print what differs between two runs: code, packages, flags, metrics."""
    facts: list[dict[tuple[str, str], Any]] = []
    for entry in [find_run(root, name) for name in args.names]:
        code = {name: entry.record.get(name) for name in ("commit", "branch", "dirty")}
        parts = {"code": code, "package": entry.record.get("packages", {}), "flag": entry.flags()}
        parts["metric"] = entry.metrics
        facts.append({(part, name): value for part, values in parts.items() for name, value in values.items()})
    one, two = facts
    names = [key for part in parts for key in {**one, **two} if key[0] == part and one.get(key) != two.get(key)]
    if not names:
        print("they do not differ")
        return
    rows = [[*key, *(as_text(each.get(key)) or "-" for each in facts)] for key in names]
    print_table([["", "", *args.names], *rows])


def show_best(args: Namespace, root: Path) -> None:
    """Print the path of the best checkpoint of all runs, by a metric.

    Raises:
        UsageError: If none has the metric, or it is not known whether lower or higher values are better.
    """
    found = read_runs(root, everything=True)
    require_known("best", args.metric, found)
    values = {entry.dir / CHECKPOINTS / BEST: entry.of_best(args.metric) for entry in found}
    known = {path: value for path, value in values.items() if value is not None and path.is_file()}
    if not known:
        raise UsageError(f"best {args.metric}: no run below {root} has it and a {BEST}")
    modes = {entry.mode for entry in found if entry.monitor == args.metric} - {None}
    if args.mode is None and len(modes) != 1:
        raise UsageError(f"best {args.metric}: runs do not say which is better: add --mode min or --mode max")
    mode = args.mode or modes.pop()
    print((min if mode == "min" else max)(known, key=lambda path: known[path]))


def remove(args: Namespace, root: Path) -> None:
    """Remove the directories of runs.

    Raises:
        UsageError: If one is running or not in the table, or there is no terminal to ask at.
    """
    listed = {run_dir.resolve() for run_dir, _ in run_dirs(root, everything=True)}
    found = {entry.dir.resolve(): entry for entry in (find_run(root, name) for name in args.names)}
    for path, entry in found.items():
        if path not in listed:
            raise UsageError(f"{entry.dir} is not below {root}: name its folder with --default_root_dir")
        if is_locked(entry.dir):
            raise UsageError(f"{entry.name} is running: stop it first")
    if not args.yes:
        if not sys.stdin.isatty():
            raise UsageError("without a terminal rm needs --yes")
        if input(f"remove {', '.join(args.names)}? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing is removed")
            return
    for entry in found.values():
        with locked(entry.dir):
            shutil.rmtree(entry.dir)
        print(f"{entry.dir} is removed")


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
