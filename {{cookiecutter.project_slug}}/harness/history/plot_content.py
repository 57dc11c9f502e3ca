"""The content and the colours of a plot of runs, for an image and for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.history.curves import Points

# Okabe and Ito, "Color Universal Design", 2008, without its yellow: told apart with any colour vision.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
Dash = Literal["solid", "dashed", "dotted"]
DASHES: tuple[Dash, ...] = ("solid", "dashed", "dotted")  # of the first seven runs, of the next seven, and so on
FEW = 20  # points of a curve that are marked


@dataclass
class Plot:
    """Curves of runs.

    Attributes:
        title: names of the runs.
        x: "step" or "epoch".
        metrics: names of the metrics, each with a chart.
        curves: of each run by its name, the points of each metric.
        table: names of columns, then a row for each run: its name, its best value, and flags that differ.
    """

    title: str
    x: str
    metrics: Sequence[str]
    curves: dict[str, dict[str, Points]]
    table: list[list[str]]

    @property
    def columns(self) -> int:
        """The number of charts beside each other."""
        return min(len(self.metrics), 2 if len(self.metrics) <= 4 else 3)

    @property
    def rows(self) -> int:
        """The number of charts below each other."""
        return -(-len(self.metrics) // self.columns)


def style(number: int) -> tuple[str, Dash]:
    """Return the colour and the dash of a run, by its number in the plot."""
    return COLORS[number % len(COLORS)], DASHES[number // len(COLORS) % len(DASHES)]
