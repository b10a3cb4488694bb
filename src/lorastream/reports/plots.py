"""Plots of finished runs, as SVG text that needs no file beside it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lorastream.reports.units import percent
from lorastream.runs import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "lorastream",  # the same records give the same bytes
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_PANEL_WIDTH, _HEIGHT = 3.6, 3.2
_LONGEST_NAME = 8


def accuracy_over_tasks(records: Sequence[RunRecord]) -> str:
    """Draw the accuracy on every task as tasks arrive, a panel for each run, and their mean; return SVG.

    Args:
        records: at least one, each with at least one task learnt.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_PANEL_WIDTH * len(records), _HEIGHT), layout="constrained")
        panels = figure.subplots(1, len(records), sharey=True, squeeze=False)[0]
        for panel, record in zip(panels, records, strict=True):
            _draw(panel, record)
        panels[0].set_ylabel("accuracy on each task, %")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", frameon=False, fontsize=9)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, facecolor="white")
    return text.getvalue()


def _draw(panel: Axes, record: RunRecord) -> None:
    """Draw one run: a line for each task from when it was learnt on, the mean of those seen as a thick one."""
    from matplotlib import colormaps

    n_tasks = len(record.accuracy_matrix)
    shades = colormaps["viridis"]
    for k in range(n_tasks):
        later = [(t + 1, 100 * (row[k] or 0.0)) for t, row in enumerate(record.accuracy_matrix) if t >= k]
        colour = shades(k / max(n_tasks - 1, 1) * 0.85)
        panel.plot(*zip(*later, strict=True), color=colour, marker="o", markersize=4, linewidth=1.2)
        name = " ".join(record.tasks[k])
        if len(name) <= _LONGEST_NAME:
            panel.annotate(name, later[0], xytext=(5, 5), textcoords="offset points", color=colour, fontsize=8)
    means = [100 * sum(value or 0.0 for value in row) / len(row) for row in record.accuracy_matrix]
    panel.plot(range(1, n_tasks + 1), means, color="black", linewidth=2.6, label="mean of the tasks seen")
    panel.set_title(f"{record.method}: {percent(record.average_accuracy)} % at the end", fontsize=10)
    panel.set_xlabel("tasks learnt")
    panel.set_xticks(range(1, n_tasks + 1))
    panel.set_ylim(-3, 112)
