"""Plots as SVG text: the same figures give the same bytes."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lorastream.reports.plots import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 3.4
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Okabe and Ito's, which people tell apart whatever colours they see."""
_HALF = 0.5


def svg(draw: Callable[[Figure], None], *, width: float, height: float = HEIGHT) -> str:
    """Let `draw` fill a figure of so many inches, and return it as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, facecolor="white")
    return text.getvalue()


def heat_map(
    panel: Axes, rows: Sequence[Sequence[float | None]], *, names: Sequence[str], largest: float, decimals: int = 2
) -> None:
    """Draw a square of figures, darker where they are larger; None is left white.

    Args:
        panel: to draw on.
        rows: one a row, from the top.
        names: of rows and columns.
        largest: the figure that is darkest.
        decimals: of the figures.
    """
    values = [[float("nan") if value is None else value for value in row] for row in rows]
    panel.imshow(values, cmap="Blues", vmin=0.0, vmax=largest, aspect="equal")
    for i, j in itertools.product(range(len(rows)), repeat=2):
        value = rows[i][j]
        if value is not None:
            colour = "white" if value > _HALF * largest else "black"
            text = f"{value:.{decimals}f}"
            panel.text(j, i, text, ha="center", va="center", color=colour, fontsize=8 if len(rows) <= 6 else 6.5)  # noqa: PLR2004
    panel.set_xticks(range(len(names)), list(names))
    panel.set_yticks(range(len(names)), list(names))
    panel.tick_params(length=0)
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)


def line(panel: Axes, x: Sequence[float], y: Sequence[float], *, number: int, label: str) -> None:
    """Draw one line with marks, in the colour of its number."""
    colour = COLOURS[number % len(COLOURS)]
    panel.plot(list(x), list(y), color=colour, marker="o", markersize=4, linewidth=1.6, label=label)
