"""``main.py runs plot``: the curves of runs as an image and as a page. Needs no torch."""

import csv
from argparse import Namespace
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from harness.errors import UsageError
from harness.files import whole_file
from harness.history.actions import differences
from harness.history.curves import Points, read_curves, thinned
from harness.history.entries import Entry
from harness.history.plot_content import Plot
from harness.history.plot_image import draw_image
from harness.history.plot_page import draw_page
from harness.history.selection import find_runs
from harness.history.texts import as_text
from harness.trainer_args import notice

OUTPUTS = ("curves.png", "curves.html")
PACKAGES = {".png": "matplotlib", ".pdf": "matplotlib", ".svg": "matplotlib", ".html": "plotly"}  # by suffix
LONGEST = 60  # signs of a title, and of a cell of the table


def plot_runs(args: Namespace, root: Path) -> None:
    """Draw the curves of runs, write the files, and print their paths.

    Raises:
        UsageError: If a run or metric is unknown, no run has a curve, or a package is missing; nothing is written.
    """
    paths = [Path(args.output)] if args.output else [root / name for name in OUTPUTS]
    require_packages(paths)
    runs = find_runs(root, args.names)
    curves = {entry.name: curves_of(entry, args.x) for entry in runs}
    metrics = chosen_metrics(args.metrics, curves)
    shown = {name: {metric: each[metric] for metric in metrics if metric in each} for name, each in curves.items()}
    for name in [name for name, each in shown.items() if not each]:
        notice(f"{name} has no {' or '.join(args.metrics or ['metrics'])}, and is left out")
        del shown[name]
    table = table_of([entry for entry in runs if entry.name in shown])
    plot = Plot(title_of(list(shown)), args.x, metrics, shown, table)
    files = [draw_page(plot) if path.suffix == ".html" else draw_image(plot, path.suffix[1:]) for path in paths]
    for path, content in zip(paths, files, strict=True):
        with whole_file(path) as file:
            file.write(content)
        print(path)


def require_packages(paths: Sequence[Path]) -> None:
    """Raise UsageError if a file has no suffix of a plot, or a package is missing that draws it."""
    for path in paths:
        if path.suffix not in PACKAGES:
            raise UsageError(f"--output {path}: the name ends in none of {', '.join(PACKAGES)}")
    needed = {PACKAGES[path.suffix]: path.suffix for path in paths}
    missing = [package for package in needed if find_spec(package) is None]
    if missing:
        other = next((f", or add --output FILE{suffix}" for name, suffix in needed.items() if name not in missing), "")
        raise UsageError(f'runs plot needs {" and ".join(missing)}: pip install -e ".[plots]"{other}')


def curves_of(entry: Entry, x: str) -> dict[str, Points]:
    """Return the curves of a run; none if its metrics.csv cannot be read, which a notice names."""
    try:
        return {metric: thinned(points) for metric, points in read_curves(entry, x).items()}
    except (OSError, csv.Error) as error:
        notice(f"{entry.name}: {' '.join(str(error).split())}")
        return {}


def chosen_metrics(chosen: Sequence[str] | None, curves: dict[str, dict[str, Points]]) -> list[str]:
    """Return the metrics to draw: those of ``--metrics``, or all of the runs.

    Raises:
        UsageError: If no run has one of them, or no run has any.
    """
    known = sorted({metric for each in curves.values() for metric in each})
    for metric in chosen or ():
        if metric not in known:
            near = get_close_matches(metric, known, n=1)
            raise UsageError(f"--metrics {metric}: no run has it" + (f", did you mean {near[0]}?" if near else ""))
    if not known:
        raise UsageError(f"no metrics in {', '.join(curves)}: training writes metrics.csv with --logger csv")
    return list(dict.fromkeys(chosen or known))


def title_of(names: Sequence[str]) -> str:
    """Return the title of a plot."""
    text = ", ".join(names)
    return text if len(text) <= LONGEST else f"{len(names)} runs"


def table_of(entries: Sequence[Entry]) -> list[list[str]]:
    """Return a row for each run, under names of columns: its name, its best value, and the flags that differ.

    There are no rows if the flags do not differ, and no best values if the runs monitor several metrics.
    """
    columns = [["run", *(entry.name for entry in entries)]]
    if len(monitors := {entry.monitor for entry in entries} - {None}) == 1:
        (monitor,) = monitors
        columns.append([f"best {monitor}", *(as_text(entry.get("metric")) for entry in entries)])
    flags = [row[1:] for row in differences(entries) if row[0] == "flag"]
    cut = [[text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..." for text in each] for each in columns + flags]
    return [list(row) for row in zip(*cut, strict=True)] if flags else []
