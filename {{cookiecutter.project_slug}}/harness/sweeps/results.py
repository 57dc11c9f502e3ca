"""The results of a sweep: a row for each trial or job, printed and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from harness.runs.run import ERROR_FILE

LONGEST = 100  # signs of an error on the terminal; error.txt has the rest


@dataclass
class Row:
    """The result of a trial or a job.

    Args:
        name: number of the trial, or name of the job.
        state: complete, pruned, failed or running.
        objectives: metrics to minimize or maximize, by name; None if unknown.
        drawn: values of the searched flags.
        metrics: all other metrics.
        seconds: duration.
        error: reason for a failure.
        run_dir: directory of the run.
        command: command line that repeats the run.
    """

    name: str
    state: str
    objectives: Mapping[str, float | None]
    drawn: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    error: str = ""
    run_dir: Path | None = None
    command: str = ""


def as_csv(rows: Sequence[Row], kind: str) -> str:
    """Return all rows as CSV, with every digit of the metrics.

    Args:
        rows: the results.
        kind: title of the first column: "trial" or "job".
    """
    objectives, drawn, others = names(rows, "objectives"), names(rows, "drawn"), other_names(rows)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([kind, "state", *objectives, *others, *drawn, "seconds", "error", "run", "command"])
    for row in rows:
        values = [exact(row.objectives.get(name)) for name in objectives]
        values += [exact(row.metrics.get(name)) for name in others]
        values += [row.drawn.get(name, "") for name in drawn]
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        writer.writerow([row.name, row.state, *values, seconds, row.error, row.run_dir or "", row.command])
    return text.getvalue()


def as_lines(rows: Sequence[Row], kind: str, width: int) -> list[str]:
    """Return the lines of a table for the terminal: objectives, searched values that differ, errors, other metrics.

    Args:
        rows: the results.
        kind: title of the first column: "trial" or "job".
        width: signs of a line; columns of other metrics that exceed it are omitted.
    """
    columns = [[kind, *(row.name for row in rows)]]
    for name in names(rows, "objectives"):
        columns.append([name, *(rounded(row.objectives.get(name), ".4f") for row in rows)])
    for name in names(rows, "drawn"):
        values = [rounded(row.drawn.get(name)) for row in rows]
        if len(rows) == 1 or len(set(values)) > 1:
            columns.append([name, *values])
    if any(row.error for row in rows):
        columns.append(["error", *(brief(row.error) for row in rows)])
    left = width - sum(map(width_of, columns))
    for name in other_names(rows):
        column = [name, *(rounded(row.metrics.get(name)) for row in rows)]
        left -= width_of(column)
        if left >= 0:
            columns.append(column)
    padded = [[cell.ljust(width_of(column)) for cell in column] for column in columns if rows]
    return ["".join(cells).rstrip() for cells in zip(*padded, strict=True)]


def failure(row: Row, kind: str) -> str:
    """Return a line on a trial or job that has failed, with the path of its ``error.txt``."""
    file = f" ({row.run_dir / ERROR_FILE})" if row.run_dir else ""
    return f"{kind} {row.name} failed: {brief(row.error)}{file}"


def names(rows: Sequence[Row], part: str) -> list[str]:
    """Return all names in one part of the rows, such as "drawn", in the order of their first row."""
    return list(dict.fromkeys(name for row in rows for name in getattr(row, part)))


def other_names(rows: Sequence[Row]) -> list[str]:
    """Return the names of the metrics that are no objectives, the most frequent first."""
    objectives = names(rows, "objectives")
    counts: dict[str, int] = {}
    for name in (name for row in rows for name in row.metrics if name not in objectives):
        counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))


def brief(error: str) -> str:
    """Return the beginning of an error."""
    return shorten(error, LONGEST, placeholder=" ...")


def exact(value: float | None) -> str:
    """Return a number with all digits; nothing for None."""
    return "" if value is None else repr(value)


def rounded(value: Any, form: str = ".4g") -> str:
    """Return a number with four digits, any other value as it is, nothing for None."""
    return "" if value is None else format(value, form) if isinstance(value, float) else str(value)


def width_of(column: Sequence[str]) -> int:
    """Return the width of a column, including the gap after it."""
    return max(map(len, column)) + 2
