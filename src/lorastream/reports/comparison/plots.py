"""Accuracy against what it costs, a point a method; labels stand beside the panel, so that none covers another."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorastream.reports.comparison.compare import Setting
from lorastream.reports.groups import training_seconds
from lorastream.reports.page.drawing import ACCENT, INK, LINE, MUTED, drawing
from lorastream.reports.page.figure import Figure, Table
from lorastream.reports.tables import Number
from lorastream.reports.units import duration, percent, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE_HEIGHT = 13.0
_LABELS = 112.0
_LEFT, _TOP, _BOTTOM = 48.0, 12.0, 40.0
_LOWEST = 230.0
_LONGEST_LABEL = 18
_EVEN_UP_TO = 8
_BETWEEN_TICKS = 0.24  # of the axis: the longest label is shorter
_BYTES = (0.0, *(digit * 10.0**power for power in range(15) for digit in (1, 2, 5)))
_SECONDS = (
    0.0,
    0.1,
    1,
    2,
    5,
    10,
    20,
    30,
    *(60 * m for m in (1, 2, 5, 10, 20, 30)),
    *(3600 * h for h in (1, 2, 5, 10, 24, 100, 1000)),
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A method in a plot: its cost, and its accuracy in percent with the deviation over seeds, if there is one."""

    label: str
    cost: float
    accuracy: float
    deviation: float | None


def accuracy_against(setting: Setting, cost: str, *, name: str) -> Figure | None:
    """Draw the accuracy of every method against a cost.

    Args:
        setting: the table.
        cost: "stored bytes" or "training time".
        name: of the figure, unlike all others of the page.

    Returns:
        The figure; None where fewer than two methods have both numbers.
    """
    number, spelling, axis = COSTS[cost]
    points = _points(setting, number)
    if len(points) < 2:  # noqa: PLR2004 one point compares with nothing
        return None
    height = max(_LOWEST, _TOP + _BOTTOM + _LINE_HEIGHT * len(points))
    with drawing(name, height=height, left=_LEFT, right=_LABELS, top=_TOP, bottom=_BOTTOM) as drawn:
        _draw(drawn.panel, points, axis, height - _TOP - _BOTTOM)
    rows = [[p.label, _accuracy(p), spelling(p.cost)] for p in points]
    best, cheapest = points[0], min(points, key=lambda p: p.cost)
    return Figure(
        name=name,
        title=f"Accuracy against {cost}",
        alt=f"{len(points)} methods. The most accurate is {best.label} with {best.accuracy:.1f} % at "
        f"{spelling(best.cost)}; "
        f"the cheapest is {cheapest.label} with {cheapest.accuracy:.1f} % at {spelling(cheapest.cost)}.",
        caption="Up and to the left is better. Bars: standard deviation over seeds.",
        svg=drawn.svg,
        table=Table.of(["method", "average accuracy, %", cost], rows),
    )


COSTS: dict[str, tuple[Number, Callable[[float | None], str], str]] = {
    "stored bytes": (lambda record: record.stored_bytes, size, "bytes the method stores"),
    "training time": (training_seconds, duration, "training time of all tasks"),
}
"""The costs that accuracy is drawn against: what is read off a record, how it is spelt, and the axis."""


def _points(setting: Setting, number: Number) -> list[Point]:
    """Return the methods that have both numbers, the most accurate first."""
    found: list[Point] = []
    for row in setting.rows:
        cost = row.figure(number).mean
        if cost is None or row.accuracy.mean is None:
            continue
        deviation = row.accuracy.deviation
        spread = None if deviation is None else 100 * deviation
        found.append(Point(label=row.method, cost=cost, accuracy=100 * row.accuracy.mean, deviation=spread))
    return found


def _draw(panel: Axes, points: Sequence[Point], axis: str, height: float) -> None:
    _cost_axis(panel, [p.cost for p in points], axis)
    panel.set_ylim(*_limits(points))
    panel.locator_params(axis="y", steps=[1, 2, 5, 10])  # one decimal at most
    panel.set_ylabel("average accuracy, %")
    heights = spread_out([_fraction(panel, p.accuracy) for p in points], gap=_LINE_HEIGHT / height)
    for point, place in zip(points, heights, strict=True):
        panel.annotate(
            _short(point.label),
            (point.cost, point.accuracy),
            xytext=(1.05, place),
            textcoords="axes fraction",
            verticalalignment="center",
            fontsize=9,
            color=INK,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": LINE, "linewidth": 0.8, "relpos": (0, 0.5), "shrinkB": 3},
        )
        panel.errorbar(point.cost, point.accuracy, yerr=point.deviation, color=MUTED, elinewidth=1, fmt="none")
    panel.scatter([p.cost for p in points], [p.accuracy for p in points], s=26, color=ACCENT, zorder=3)


def _cost_axis(panel: Axes, costs: Sequence[float], axis: str) -> None:
    """Let the cost run in powers where it spans many, with room at both ends and round ticks as people say them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = min(costs), max(costs)
    spans_powers = low > 0 and high / low > _EVEN_UP_TO
    if spans_powers:
        panel.set_xscale("log")
        room = (high / low) ** 0.08
        panel.set_xlim(low / room, high * room)
    else:
        room = 0.08 * (high - low or high or 1.0)
        panel.set_xlim(low - room, high + room)
    spelling, steps = (size, _BYTES) if "bytes" in axis else (duration, _SECONDS)

    def spelt(value: float, _place: int | None = None) -> str:
        return re.sub(r"\.0 ", " ", spelling(value))

    panel.xaxis.set_major_locator(FixedLocator(ticks(*panel.get_xlim(), steps, log=spans_powers) or [low]))
    panel.xaxis.set_major_formatter(FuncFormatter(spelt))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel(axis)


def ticks(low: float, high: float, steps: Sequence[float], *, log: bool) -> list[float]:
    """Return those of the round numbers between two limits whose labels have room beside each other, from the lowest.

    Args:
        low: end of the axis.
        high: its other end.
        steps: the round numbers, rising.
        log: whether the axis runs in powers.
    """
    place = math.log if log else float
    apart = _BETWEEN_TICKS * (place(high) - place(low))
    found: list[float] = []
    for step in steps:
        if low <= step <= high and (not found or place(step) - place(found[-1]) >= apart):
            found.append(step)
    return found


def _limits(points: Sequence[Point]) -> tuple[float, float]:
    low = min(p.accuracy - (p.deviation or 0.0) for p in points)
    high = max(p.accuracy + (p.deviation or 0.0) for p in points)
    room = max(0.06 * (high - low), 0.5)
    return low - room, high + room


def _fraction(panel: Axes, accuracy: float) -> float:
    low, high = panel.get_ylim()
    return (accuracy - low) / (high - low)


def spread_out(heights: Sequence[float], *, gap: float) -> list[float]:
    """Return heights that keep a distance, in their order and, in the sum of squares, nearest to those given.

    Args:
        heights: from high to low, between 0 and 1.
        gap: distance to keep, and half of it to 0 and 1; so many gaps must fit.
    """
    import numpy as np
    from scipy.optimize import isotonic_regression

    steps = gap * np.arange(len(heights))
    apart = isotonic_regression(np.asarray(heights) + steps, increasing=False).x
    return [float(place) for place in np.clip(apart, steps[-1] + gap / 2, 1 - gap / 2) - steps]


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 3]}..."


def _accuracy(point: Point) -> str:
    mean = percent(point.accuracy / 100)
    return mean if point.deviation is None else f"{mean} ± {percent(point.deviation / 100)}"
