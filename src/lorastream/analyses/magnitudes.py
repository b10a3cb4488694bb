"""SD-LoRA's magnitudes after every task, from the record alone.

SD-LoRA (ICLR 2025), Fig. 3b and c and Fig. 6: the magnitudes of early tasks rise quickly, and α_k falls with k. The
newest multiplies an update that the released code does not normalise, so it is left out of the comparison.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from lorastream.analyses.drawing import svg
from lorastream.analyses.finished import FinishedRun
from lorastream.analyses.options import Options
from lorastream.analyses.result import Analysis, verdict
from lorastream.errors import MethodError
from lorastream.reports.magnitudes import PUBLISHED, magnitudes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHAT = "magnitudes"
FALLS = -0.5
"""The rank correlation of magnitude and task, median after each task, at or below which magnitudes fall with it."""
_FEWEST = 3


def analyse(run: FinishedRun, options: Options) -> Analysis:
    """Read the magnitudes after each task and see whether they fall with the task."""
    del options
    rows = [magnitudes_of(figures) for figures in run.record.figures_per_task]
    if not any(rows):
        raise MethodError(
            f"analysis {WHAT}",
            expected="a run of a method with magnitudes: sd_lora and its variants",
            got=run.record.method,
            next_step="run one: --methods sd_lora",
        )
    correlations = [rank_correlation(row[:-1]) for row in rows if len(row) > _FEWEST]
    holds = statistics.median(correlations) <= FALLS if correlations else None
    figures: dict[str, Any] = {
        "magnitudes": rows,
        "rank_correlation_with_task": correlations,
        "published": PUBLISHED.get(len(rows)),
    }
    return Analysis(
        what=WHAT,
        title="Magnitudes over tasks",
        claim="The magnitudes of early tasks are the largest, and they fall with the task (SD-LoRA, Fig. 3).",
        paragraph=_paragraph(rows, correlations, holds),
        holds=holds,
        figures=figures,
        drawing=svg(lambda figure: _draw(figure, rows), width=6.4),
        alt=f"The magnitude of each task's direction after every later task; at the end {_listed(rows[-1])}.",
    )


def rank_correlation(values: list[float]) -> float:
    """Return Spearman's correlation of values with their places; ties share their mean rank, 0 where all are equal."""
    if len(set(values)) == 1:
        return 0.0
    ranks = [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]
    return statistics.correlation(range(len(values)), ranks)


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _paragraph(rows: list[list[float]], correlations: list[float], holds: bool | None) -> str:
    past, first = rows[-1][:-1], [row[0] for row in rows]
    if not correlations:
        return (
            f"This run cannot tell: after its last task it has {len(past)} magnitudes besides the newest, and a trend "
            f"needs {_FEWEST}."
        )
    return (
        f"{verdict(holds)}: the rank correlation of magnitude and task is {statistics.median(correlations):+.2f}, the "
        f"median after each of tasks {_FEWEST + 1} to {len(rows)} (at most {FALLS} is called falling), and "
        f"{correlations[-1]:+.2f} at the end. There the magnitudes of tasks 1 to {len(past)} are {_listed(past)}; the "
        f"first was between {min(first):.2f} and {max(first):.2f} over the tasks. The newest is left out: it "
        "multiplies an update that is not normalised."
    )


def _draw(figure: Figure, rows: list[list[float]]) -> None:
    from matplotlib import colormaps

    panel = figure.subplots()
    shades, last = colormaps["viridis"], max(len(rows) - 1, 1)
    for k in range(len(rows[-1])):
        later = [(t + 1, row[k]) for t, row in enumerate(rows) if k < len(row)]
        colour = shades(k / last * 0.85)
        panel.plot(*zip(*later, strict=True), color=colour, marker="o", markersize=4, linewidth=1.4, label=f"{k + 1}")
        panel.plot(*later[0], color=colour, marker="o", markersize=8, fillstyle="none")
    panel.set_xticks(range(1, len(rows) + 1))
    panel.set_xlabel("tasks learnt (a ring: while the direction is the newest)")
    panel.set_ylabel("magnitude")
    figure.legend(loc="outside right center", title="of task", frameon=False, fontsize=9)
