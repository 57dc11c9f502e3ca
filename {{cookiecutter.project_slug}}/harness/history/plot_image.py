"""The plot of runs as an image, by matplotlib."""

import warnings
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from harness.history.plot_content import FEW, Plot, style

WIDTH, HEIGHT = 5.0, 3.2  # inches of a chart
LINE = 0.25  # inches of a line of text
SIGN = 0.085  # inches of a sign of text
CELL, LONGEST, ROWS = 2.2, 28, 40  # of the table: inches and signs of a cell, and runs
GREY = "#666666"


def draw_image(plot: Plot, kind: str) -> bytes:
    """Return the file of an image.

    Args:
        plot: its content.
        kind: png, pdf or svg.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    width = max(WIDTH * plot.columns, 7.0)
    longest = max(map(len, plot.curves))
    legend_columns = max(1, int(width / (SIGN * longest + 0.6)))
    legend_height = LINE * (1 + -(-len(plot.curves) // legend_columns))
    heights = [legend_height, HEIGHT * plot.rows, LINE * (1 + min(len(plot.table), ROWS + 1)) if plot.table else 0.1]
    file = BytesIO()
    with rc_context({"text.parse_math": False, "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks
        figure: Any = Figure(figsize=(width, sum(heights)), layout="constrained", dpi=150)
        top, middle, bottom = figure.subfigures(3, height_ratios=heights)
        charts = list(middle.subplots(plot.rows, plot.columns, squeeze=False).flat)
        for chart, metric in zip(charts, plot.metrics, strict=False):
            draw_chart(chart, plot, metric)
        for chart in charts[len(plot.metrics) :]:
            chart.remove()
        draw_legend(top, plot, legend_columns)
        if plot.table:
            draw_table(bottom.subplots(), plot.table, int(width / CELL))
        figure.savefig(file, format=kind, bbox_inches="tight", pad_inches=0.15)
    return file.getvalue()


def draw_chart(chart: Any, plot: Plot, metric: str) -> None:
    """Draw the curves of a metric."""
    for number, curves in enumerate(plot.curves.values()):
        points = curves.get(metric, {})
        color, dash = style(number)
        mark = "o" if len(points) <= FEW else None
        line: dict[str, Any] = {"color": color, "linestyle": dash, "linewidth": 1.4, "marker": mark, "markersize": 3.5}
        chart.plot(list(points), list(points.values()), **line)
    chart.set_title(metric, fontsize=11, loc="left")
    chart.set_xlabel(plot.x, fontsize=9, color=GREY)
    chart.grid(color="#e5e5e5", linewidth=0.8)
    chart.spines[["top", "right"]].set_visible(False)
    chart.spines[["left", "bottom"]].set_color("#bbbbbb")
    chart.tick_params(labelsize=9, color="#bbbbbb", labelcolor=GREY)
    chart.xaxis.get_major_locator().set_params(integer=True)


def draw_legend(figure: Any, plot: Plot, columns: int) -> None:
    """Draw the names of the runs."""
    from matplotlib.lines import Line2D

    styles = [style(number) for number in range(len(plot.curves))]
    lines = [Line2D([], [], color=color, linestyle=dash, linewidth=2) for color, dash in styles]
    figure.legend(lines, list(plot.curves), loc="center", ncols=columns, frameon=False, fontsize=10)


def draw_table(chart: Any, content: Sequence[Sequence[str]], columns: int) -> None:
    """Draw the table of the flags that differ, as far as it fits in."""
    head, *rows = [row[:columns] for row in content[: ROWS + 1]]
    texts = [[cell if len(cell) <= LONGEST else f"{cell[: LONGEST - 3]}..." for cell in row] for row in rows]
    missing = {"flags": len(content[0]) - len(head), "runs": len(content) - 1 - len(rows)}
    more = " and ".join(f"{number} more {name}" for name, number in missing.items() if number)
    chart.axis("off")
    table = chart.table(texts, colLabels=head, loc="upper center", cellLoc="left", colLoc="left", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, column), cell in table.get_celld().items():
        cell.set_edgecolor("#dddddd")
        if row == 0:
            cell.get_text().set_color(GREY)
        elif column == 0:
            cell.get_text().set_color(style(row - 1)[0])
    if more:
        chart.set_title(f"and {more}", fontsize=9, loc="right", color=GREY)
