"""Plots as SVG that lives inside a page: text stays text, and colours are the page's own, in either theme.

Matplotlib draws with stand-in colours, which are replaced by the style sheet's variables afterwards. A drawing is 340
units wide, so that its text is legible on a telephone, where one unit is about a pixel; wider screens enlarge it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 340.0
HEIGHT = 230.0

INK, MUTED, LINE, PAPER = "#010101", "#020202", "#030303", "#040404"
ACCENT, ON_ACCENT, SECOND, THIRD, HEAT = "#050505", "#060606", "#070707", "#080808", "#090909"
"""Stand-ins: text, quiet text, grid lines, background; of data, of text on full heat, two more of data, full heat."""

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    ACCENT: "var(--accent)",
    ON_ACCENT: "var(--on-accent)",
    SECOND: "var(--second)",
    THIRD: "var(--third)",
    HEAT: "var(--heat)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.solid_capstyle": "round",
}
_FEWEST_BETWEEN_TICKS = 8


class Drawing:
    """One panel, and once `drawing`'s context is left its SVG.

    Attributes:
        panel: to draw on.
        svg: the text; empty before.
    """

    def __init__(self, panel: Axes) -> None:
        self.panel = panel
        self.svg = ""


@contextmanager
def drawing(
    name: str, *, height: float = HEIGHT, left: float = 40, right: float = 12, top: float = 10, bottom: float = 40
) -> Generator[Drawing]:
    """Draw a panel inside the context.

    Args:
        name: of the figure, unlike all others of the page: it keeps the ids apart.
        height: of the whole, in units; `WIDTH` is the width.
        left: margin for ticks and labels, in units.
        right: margin, in units.
        top: margin for a legend, in units.
        bottom: margin for ticks and labels, in units.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        place = (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, (height - top - bottom) / height)
        drawn = Drawing(figure.add_axes(place))
        yield drawn
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    drawn.svg = for_page(text.getvalue(), name)


def for_page(svg: str, name: str) -> str:
    """Return matplotlib's SVG as an element of a page: without a prologue, with ids and colours that fit there.

    Args:
        svg: a whole document.
        name: that ids begin with.
    """
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"\n+\s*(?=[A-Za-z\"])", " ", svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    return _with_own_ids(svg, name)


def _with_own_ids(svg: str, name: str) -> str:
    """Return it with the ids that something refers to, each after the figure's name, and without the others."""
    used = set(re.findall(r'"#([^"]+)"|url\(#([^)]+)\)', svg))
    referred = {one or other for one, other in used}

    def renamed(found: re.Match[str]) -> str:
        return f' id="{name}-{found[1]}"' if found[1] in referred else ""

    svg = re.sub(r' id="([^"]*)"', renamed, svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)


def legend(panel: Axes, *, columns: int = 2) -> None:
    """Put the legend above the panel, where it covers no data; the top margin must hold it: 18 units a line."""
    panel.legend(
        loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=columns, borderaxespad=0.2, borderpad=0, columnspacing=1.4
    )


def task_ticks(n_tasks: int) -> list[int]:
    """Return which of the tasks 1 to n are named on an axis: all while there is room, else 1 and round numbers."""
    if n_tasks <= 2 * _FEWEST_BETWEEN_TICKS:
        return list(range(1, n_tasks + 1))
    step = next(
        s for s in (5, 10, 20, 25, 50, 100, 200, 500, n_tasks) if n_tasks / s <= _FEWEST_BETWEEN_TICKS or s == n_tasks
    )
    return [1, *range(step, n_tasks + 1, step)]


def thin_line(
    panel: Axes, tasks: Sequence[int], values: Sequence[float], *, place: float, label: str | None = None
) -> None:
    """Draw one of many lines over tasks.

    Args:
        panel: to draw on.
        tasks: `[n]`, counted from 1.
        values: `[n]`; NaN is a gap.
        place: of the line among all, in [0, 1]: the first is the palest.
        label: in the legend.
    """
    panel.plot(
        tasks, values, color=ACCENT, alpha=0.25 + 0.6 * place, linewidth=1.2, marker="o", markersize=2.6, label=label
    )


def over_tasks(panel: Axes, n_tasks: int, label: str = "tasks learnt", *, bars: bool = False) -> None:
    """Let the horizontal axis count tasks from 1, with room for bars where there are any."""
    margin = 1.5 if n_tasks == 1 else 0.6 if bars else max(0.03 * n_tasks, 0.15)
    panel.set_xticks(task_ticks(n_tasks))
    panel.set_xlim(1 - margin, n_tasks + margin)
    panel.set_xlabel(label)


def percents(panel: Axes, label: str) -> None:
    """Let the vertical axis be percentages, all of them."""
    panel.set_ylim(-2, 103)
    panel.set_yticks(range(0, 101, 20))
    panel.set_ylabel(label)


def numbers(values: Sequence[float | None]) -> list[float]:
    """Return values for matplotlib: NaN, which is a gap, where there is none."""
    return [float("nan") if value is None else float(value) for value in values]
