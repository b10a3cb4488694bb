"""A matrix as a heat map: one colour, from the page's background to full; the darker in the light theme, the more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lorastream.reports.page.drawing import HEAT, INK, ON_ACCENT, WIDTH, drawing, task_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

MOST_WITH_FIGURES = 20
"""Larger ones have no room for figures in their cells."""
_MOST_WITH_DECIMALS = 10
_LEVELS = 20
_ON_ACCENT_FROM = 0.67  # where, in both themes, either ink stands out as much
_LEFT, _RIGHT, _TOP, _BOTTOM = 36, 10, 32, 4


def heat_map(name: str, rows: Sequence[Sequence[float | None]], *, across: str, down: str) -> str:
    """Draw fractions as shaded cells, with their percentages while there is room; return SVG.

    Args:
        name: of the figure.
        rows: `[n]` rows of at most n fractions in [0, 1]; None is an empty cell.
        across: what columns are, such as "accuracy on task".
        down: what rows are.
    """
    n = len(rows)
    side = WIDTH - _LEFT - _RIGHT
    height = _TOP + _BOTTOM + (side if n > 1 else 60)
    with drawing(name, height=height, left=_LEFT, right=_RIGHT, top=_TOP, bottom=_BOTTOM) as drawn:
        panel = drawn.panel
        _cells(panel, rows)
        if n <= MOST_WITH_FIGURES:
            _figures(panel, rows)
        panel.set_xlim(0, n)
        panel.set_ylim(n, 0)
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        panel.tick_params(length=0, pad=2, labelsize=9)
        panel.xaxis.tick_top()
        panel.xaxis.set_label_position("top")
        ticks = task_ticks(n)
        panel.set_xticks([t - 0.5 for t in ticks], labels=[str(t) for t in ticks])
        panel.set_yticks([t - 0.5 for t in ticks], labels=[str(t) for t in ticks])
        panel.set_xlabel(across, fontsize=9.5, labelpad=5)
        panel.set_ylabel(down, fontsize=9.5, labelpad=5)
    return drawn.svg


def _cells(panel: Axes, rows: Sequence[Sequence[float | None]]) -> None:
    """Draw the cells, those of one level as one shape: a hundred tasks are twenty shapes, not five thousand."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    is_small = len(rows) <= MOST_WITH_FIGURES
    shapes: defaultdict[int, list[Path]] = defaultdict(list)
    for i, row in enumerate(rows):
        for level, first, last in _runs(row, longest=1 if is_small else len(row)):
            shapes[level].append(_box(i, first, last, gap=0.03 if is_small else 0.0))
    for level, boxes in sorted(shapes.items()):
        shape = Path.make_compound_path(*boxes)
        panel.add_patch(PathPatch(shape, facecolor=HEAT, alpha=_shade(level), linewidth=0, clip_on=False))


def _runs(row: Sequence[float | None], *, longest: int) -> list[tuple[int, int, int]]:
    """Return level, first and last column of the neighbours of one level; empty cells are in none."""
    found: list[tuple[int, int, int]] = []
    for j, value in enumerate(row):
        if value is None:
            continue
        level = round(_LEVELS * value)
        if found and found[-1][0] == level and found[-1][2] == j - 1 and j - found[-1][1] < longest:
            found[-1] = (level, found[-1][1], j)
        else:
            found.append((level, j, j))
    return found


def _shade(level: int) -> float:
    return 0.06 + 0.94 * level / _LEVELS


def _box(i: int, first: int, last: int, *, gap: float) -> Path:
    from matplotlib.path import Path

    left, right, top, bottom = first + gap, last + 1 - gap, i + gap, i + 1 - gap
    return Path([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], closed=True)


def _figures(panel: Axes, rows: Sequence[Sequence[float | None]]) -> None:
    n = len(rows)
    decimals = 1 if n <= _MOST_WITH_DECIMALS else 0
    size = max(6.0, min(11.0, 100 / n))
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            if value is not None:
                ink = ON_ACCENT if value >= _ON_ACCENT_FROM else INK
                text = f"{100 * value:.{decimals}f}"
                panel.text(j + 0.5, i + 0.5, text, color=ink, fontsize=size, ha="center", va="center_baseline")
