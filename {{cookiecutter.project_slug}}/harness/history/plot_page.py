"""The plot of runs as a page, by plotly: zoom, values at the pointer, runs to show and hide."""

import html
from math import isnan
from typing import Any

from harness.history.plot_content import FEW, Plot, style
from harness.pages import Html, html_table, page

HEIGHT, GAP = 240, 90  # pixels of a chart, and between charts
WIDTH = 1050  # pixels of the page
SIGN, LINE = 7, 29  # pixels of a sign and of a line in the legend
BUTTONS, TITLE = 45, 40  # pixels of the line of buttons, and of the titles of charts
DASHES = {"solid": "solid", "dashed": "dash", "dotted": "dot"}
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    "toImageButtonOptions": {"filename": "curves", "scale": 2},
}


def draw_page(plot: Plot) -> bytes:
    """Return the file of a page."""
    import plotly.io

    parts = [plotly.io.to_html(figure(plot), CONFIG, include_plotlyjs=True, full_html=False, div_id="curves")]
    if plot.table:
        head, *rows = plot.table
        cells = [[swatch(number, name), *map(one_line, texts)] for number, (name, *texts) in enumerate(rows)]
        parts.append(f"<h2>Flags that differ</h2>\n{html_table([head, *cells])}")
    return page(plot.title, parts)


def figure(plot: Plot) -> Any:
    """Return a chart for each metric; the legend shows and hides a run in all of them."""
    from plotly.subplots import make_subplots

    titles = [html.escape(metric, quote=False) for metric in plot.metrics]
    inside = plot.rows * (HEIGHT + GAP) - GAP
    spacing = {"horizontal_spacing": 0.08, "vertical_spacing": GAP / inside}
    figure = make_subplots(plot.rows, plot.columns, subplot_titles=titles, **spacing)
    in_legend = set()
    for place, metric in enumerate(plot.metrics):
        row, column = divmod(place, plot.columns)
        for number, (name, curves) in enumerate(plot.curves.items()):
            if metric in curves:
                line = curve(name, number, curves[metric])
                figure.add_scatter(**line, showlegend=name not in in_legend, row=row + 1, col=column + 1)
                in_legend.add(name)
    figure.update_xaxes(title={"text": plot.x, "font_size": 12, "standoff": 5}, tickformat="d", zeroline=False)
    figure.update_yaxes(zeroline=False)
    names_in_line = max(1, WIDTH // (max(map(len, plot.curves)) * SIGN + 50))
    legend = -(-len(plot.curves) // names_in_line) * LINE
    margin = {"l": 60, "r": 10, "t": BUTTONS + legend + TITLE, "b": 50, "autoexpand": False}
    height = inside + margin["t"] + margin["b"]
    top = {"yref": "container", "y": 1 - BUTTONS / height, "yanchor": "top"}
    figure.update_layout(
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "color": "#222"},
        height=height,
        margin=margin,
        hovermode="x unified",
        legend={"orientation": "h", "x": 0, **top},
        updatemenus=[scales(figure, legend + TITLE + 5)],
    )
    return figure


def scales(figure: Any, above: int) -> dict[str, Any]:
    """Return the buttons for the scale of all vertical axes, so many pixels above the charts."""
    axes = list(figure.select_yaxes())
    names = [axis.plotly_name for axis in axes]
    buttons = [
        {"label": scale, "method": "relayout", "args": [{f"{name}.type": scale for name in names}]}
        for scale in ("linear", "log")
    ]
    place = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": above}}
    return {"type": "buttons", "direction": "right", "buttons": buttons, **place}


def curve(name: str, number: int, points: dict[float, float]) -> dict[str, Any]:
    """Return the curve of a run in a chart; it has a gap where a value is not finite."""
    color, dash = style(number)
    label = html.escape(name, quote=False)
    return {
        "name": label,
        "legendgroup": name,
        "legendrank": number,  # else a run of the second chart would be behind
        "x": list(points),
        "y": [None if isnan(value) else value for value in points.values()],
        "mode": "lines+markers" if len(points) <= FEW else "lines",
        "line": {"color": color, "dash": DASHES[dash], "width": 2},
        "hovertemplate": "%{y:.5g}",
    }


def swatch(number: int, name: str) -> Html:
    """Return the name of a run behind a dot in its colour."""
    return Html(f'<span style="color: {style(number)[0]}">&#9679;</span>&nbsp;{one_line(name)}')


def one_line(text: str) -> Html:
    """Return a text that is not broken into lines."""
    return Html(f'<span style="white-space: nowrap">{html.escape(text)}</span>')
