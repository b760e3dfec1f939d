"""What our HTML pages are made of: one file without links, light and dark, plots as SVG within it."""

from __future__ import annotations

import html
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from aih_builder.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, BLUE, ORANGE, GREEN = "#7b818c", "#9aa0aa55", "#4a90d9", "#e8893c", "#4fae7a"
VIOLET, RED = "#9a77cf", "#d9605a"
STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --ink: #24272e; --faint: #70757f; --line: #dcdee2; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17181c; --ink: #e6e7ea; --faint: #989da8; --line: #33363d; --card: #1f2126; }
}
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 1120px; padding: 24px 20px 60px; }
h1 { font-size: 24px; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 0 0 2px; }
p { color: var(--faint); margin: 2px 0 10px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; margin: 18px 0;
  padding: 16px 18px; }
svg { display: block; height: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: 3px 14px 3px 0; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid var(--line); color: var(--faint); font-weight: 500; }
td:first-child, th:first-child { text-align: left; }
.scroll { overflow-x: auto; }
.plots { align-items: flex-start; display: flex; flex-wrap: wrap; gap: 14px; }
"""

Cell = str | tuple[str, str]
"""The text of a table's cell, or the text and the cell's class."""

Row = Sequence[Cell] | str
"""A row of a table: its cells, or the one heading of the rows below it."""

_PICTURES = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg"}  # how such files begin in base64


def document(title: str, body: str, data: Any, style: str = "") -> str:
    """A whole page: `body` is HTML, `data` lies within it as JSON, `style` follows the common one."""
    stored = json.dumps(data).replace("<", "\\u003c")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{STYLE}{style}</style></head><body>{body}"
        f'<script type="application/json" id="figures">{stored}</script></body></html>\n'
    )


def section(title: str, text: str, *content: str) -> str:
    """A card with a heading and an introduction, both plain text, and content, which is HTML."""
    return f"<section><h2>{html.escape(title)}</h2><p>{html.escape(text)}</p>{''.join(content)}</section>"


def plots(*drawings: str) -> str:
    """SVG drawings beside each other, as many in a row as there is room for."""
    return f'<div class="plots">{"".join(drawings)}</div>'


def table(head: Sequence[Cell], rows: Sequence[Row]) -> str:
    """A table that scrolls by itself where the screen is narrow. A row that is one string is a heading within it."""
    top = "".join(_cell("th", cell) for cell in head)
    body = "".join(
        f'<tr class="group"><td colspan="{len(head)}"><span>{html.escape(row)}</span></td></tr>'
        if isinstance(row, str)
        else "<tr>" + "".join(_cell("td", cell) for cell in row) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def _cell(tag: str, cell: Cell) -> str:
    if isinstance(cell, str):
        return f"<{tag}>{html.escape(cell)}</{tag}>"
    text, name = cell
    return f'<{tag} class="{html.escape(name)}">{html.escape(text)}</{tag}>'


def number(value: float | None, digits: int = 1) -> str:
    """A number for a table; '' for none."""
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def picture(alt: str, data: str) -> str:
    """An image from the base64 text of a PNG or JPEG file. Raises ConfigError for anything else."""
    kind = next((kind for start, kind in _PICTURES.items() if data.startswith(start)), None)
    if kind is None:
        raise ConfigError(
            f"picture {alt!r}: its data begin with {data[:12]!r}, expected the base64 text of a PNG or JPEG file."
        )
    return f'<img src="data:{kind};base64,{html.escape(data)}" alt="{html.escape(alt)}">'


def require_matplotlib(asked_by: str = "--out") -> None:
    """Raises ConfigError where matplotlib is not installed. `asked_by` is what draws the plots."""
    if find_spec("matplotlib") is None:
        raise ConfigError(f"{asked_by} draws plots, which needs matplotlib: pip install 'aih-builder[viewer]'.")


@contextmanager
def plain_text(asked_by: str = "--out") -> Iterator[None]:
    """Within it plots draw names as they are, not as formulas. Raises ConfigError where matplotlib is not installed."""
    require_matplotlib(asked_by)
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False, "svg.hashsalt": "aih"}):  # the same figures, the same page
        yield


def canvas(
    columns: int,
    height: float,
    width: float = 10.4,
    alt: str = "",
    place: tuple[float, float, float, float] | None = None,
) -> tuple[list[Axes], Any]:
    """Axes beside each other, and what gives them as SVG. Sizes in inches; `alt` says what a reader cannot see.

    Room for labels is found, which takes most of the time of a small plot, unless one says where it is to lie: left,
    bottom, width and height as shares of the canvas.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained" if place is None else None)
    figure.patch.set_alpha(0)
    axes = [figure.add_subplot(1, columns, k + 1) for k in range(columns)]
    for axis in axes:
        axis.patch.set_alpha(0)
        if place is not None:
            axis.set_position(place)
        axis.tick_params(colors=INK, labelsize=9)
        axis.xaxis.label.set_color(INK)
        axis.yaxis.label.set_color(INK)
        axis.grid(axis="x", color=FAINT, lw=0.6)
        axis.set_axisbelow(True)
        for side, spine in axis.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(FAINT)

    def drawn() -> str:
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        svg = text.getvalue()[text.getvalue().index("<svg") :]
        return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1) if alt else svg

    return axes, drawn
