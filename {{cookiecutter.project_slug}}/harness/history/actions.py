"""``main.py runs show``, ``diff``, ``best`` and ``rm``."""

import shutil
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.history.entries import Entry, run_dirs
from harness.history.selection import find_run, read_runs, require_known
from harness.history.texts import as_text, print_table
from harness.runs.run import BEST, CHECKPOINTS, is_locked, locked

KINDS = ("code", "package", "flag", "metric")  # of differences


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
    rows = differences([find_run(root, name) for name in args.names])
    if not rows:
        print("they do not differ")
        return
    print_table([["", "", *args.names], *rows])


def differences(entries: Sequence[Entry]) -> list[list[str]]:
    """Return what differs between runs: a row with its kind, its name, and its text in each run."""
    facts: list[dict[tuple[str, str], Any]] = []
    for entry in entries:
        code = {name: entry.record.get(name) for name in ("commit", "branch", "dirty")}
        kinds = {"code": code, "package": entry.record.get("packages", {}), "flag": entry.flags()}
        kinds["metric"] = entry.metrics
        facts.append({(kind, name): value for kind, values in kinds.items() for name, value in values.items()})
    names = dict.fromkeys(key for kind in KINDS for each in facts for key in each if key[0] == kind)
    differing = [key for key in names if any(each.get(key) != facts[0].get(key) for each in facts)]
    return [[*key, *(as_text(each.get(key)) or "-" for each in facts)] for key in differing]


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
