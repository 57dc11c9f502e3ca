"""The curves of a run: the values of its metrics by step or epoch, from metrics.csv. Needs no torch."""

from bisect import bisect_left
from collections import defaultdict
from contextlib import suppress
from math import isfinite, isnan, nan
from statistics import fmean

from harness.history.entries import Entry, logged

MANY = 2000  # points of a curve in a plot: more cannot be told apart, and make a page of many megabytes
Points = dict[float, float]  # the values by step or epoch, in ascending order


def read_curves(entry: Entry, x: str) -> dict[str, Points]:
    """Return the curve of each metric that training has logged.

    A value that is not finite is NaN. Of a step that was logged twice, before and after a resume, the later value
    counts. Rows after training have the best weights, and belong to no step: they are left out.

    Args:
        entry: the run.
        x: "step", for the values as logged; "epoch", for the mean of each epoch.

    Raises:
        OSError: If metrics.csv cannot be read.
        csv.Error: If it is no table.
    """
    rows = logged(entry.dir, None)[: entry.record.get("fit_rows")]
    curves: dict[str, Points] = defaultdict(dict)
    epochs: Points = {}
    for row in rows:
        step, epoch = value_of(row.get("step")), value_of(row.get("epoch"))
        if step is None or isnan(step):
            continue
        if epoch is not None and isfinite(epoch):
            epochs[step] = epoch
        for name, text in row.items():
            value = value_of(text)
            if name not in (None, "", "step", "epoch") and value is not None:
                curves[name][step] = value
    curves = {name: dict(sorted(points.items())) for name, points in curves.items()}
    return curves if x == "step" else by_epoch(curves, epochs)


def by_epoch(curves: dict[str, Points], epochs: Points) -> dict[str, Points]:
    """Return the mean value of each epoch.

    Args:
        curves: values by step.
        epochs: the epoch of each step that was logged with one; other steps have that of the next such step.
    """
    if not epochs:
        return {}
    steps = sorted(epochs)
    means: dict[str, Points] = {}
    for name, points in curves.items():
        values: dict[float, list[float]] = defaultdict(list)
        for step, value in points.items():
            next_step = steps[min(bisect_left(steps, step), len(steps) - 1)]
            values[epochs[next_step]].append(value)
        means[name] = {epoch: fmean(each) for epoch, each in values.items()}
    return means


def thinned(points: Points) -> Points:
    """Return a curve of at most ``MANY`` points: a longer one by the means of equal parts, each at its last step."""
    size = -(-len(points) // MANY)
    if size <= 1:
        return points
    steps, values = list(points), list(points.values())
    starts = range(0, len(steps), size)
    return {steps[min(start + size, len(steps)) - 1]: fmean(values[start : start + size]) for start in starts}


def value_of(text: str | None) -> float | None:
    """Return the number in a cell of metrics.csv, NaN if it is not finite; None if the cell holds no number."""
    with suppress(TypeError, ValueError):
        value = float(text or "")
        return value if isfinite(value) else nan
    return None
