"""HTML pages that need no other file."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

HTML = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: left }
div:has(> table) { overflow-x: auto } h2 { margin-top: 2.5rem }
pre { background: #f4f4f4; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere; user-select: all }
</style></head><body>
<h1>$title</h1>
$body
</body></html>
""")


class Html(str):
    """Text that is HTML already."""


def page(title: str, parts: Iterable[str]) -> bytes:
    """Return a page.

    Args:
        title: the title, as text.
        parts: the HTML under it.
    """
    return HTML.substitute(title=html.escape(title), body="\n".join(parts)).encode()


def html_table(rows: Iterable[Sequence[Any]]) -> Html:
    """Return a table; the first row is its head, unless its cells are empty."""
    lines = []
    for number, row in enumerate(rows):
        tag = "td" if number else "th"
        cells = [f"<{tag}>{cell_html(cell)}</{tag}>" for cell in row]
        lines += [f"<tr>{''.join(cells)}</tr>"] if number or any(row) else []
    return Html(f"<div><table>{''.join(lines)}</table></div>")


def cell_html(cell: Any) -> Html:
    """Return a cell of a table as HTML."""
    if isinstance(cell, Html):
        return cell
    return Html(html.escape(f"{cell:.6g}" if isinstance(cell, float) else str(cell)))


def link(text: str, path: Path, directory: Path) -> Html:
    """Return a link to a file or directory, relative to the directory of the page."""
    target, start = path.resolve(), directory.resolve()
    href = target.relative_to(start).as_posix() if target.is_relative_to(start) else target.as_uri()
    return Html(f'<a href="{html.escape(href)}">{html.escape(text)}</a>')
