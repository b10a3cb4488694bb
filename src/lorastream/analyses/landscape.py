"""The loss on the plane through the weights after three tasks: one basin, or several?

SD-LoRA (ICLR 2025), section 4, says that its weights stay in a low-loss region that the tasks share. The plane is
spanned as by Garipov et al. (NeurIPS 2018): the first axis from one point to the next, the second at a right angle to
it. The loss is the mean over the three tasks of the cross-entropy within each task's classes, with the head after the
last of them.
"""

from __future__ import annotations

import itertools
import math
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from lorastream.analyses.drawing import svg
from lorastream.analyses.finished import FinishedRun
from lorastream.analyses.options import Options
from lorastream.analyses.result import Analysis, verdict
from lorastream.analyses.states import replay_note
from lorastream.analyses.weights import Probe, Weights, combined, weights_after
from lorastream.errors import MethodError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHAT = "landscape"
TOLERANCE = 0.02
"""How far, in nats, the loss between two points may lie above the higher of the two without being called a barrier."""
_MARGIN = 0.35
_WIDTH, _PANEL_WIDTH, _AROUND, _LOWEST = 5.6, 3.9, 0.9, 2.4  # inches
_PAIRS = ((0, 1), (1, 2), (0, 2))


def analyse(run: FinishedRun, options: Options) -> Analysis:
    """Measure the loss on a grid around the weights after tasks 1, 2 and 3."""
    run.at_least(3, WHAT)
    side, images = options.points or 7, options.images or 50
    tasks = [run.stream[k] for k in range(3)]
    learner, corners = weights_after(run, 3, what=WHAT)
    places = triangle(corners)
    probe, total = Probe(learner, tasks, images), side * side + 6
    done = itertools.count()

    def loss(shares: tuple[float, float, float]) -> float:
        run.progress(next(done), total, "measuring the loss on the plane")
        return fmean(found.task_restricted_loss for found in probe.at(combined(corners, shares)))

    at_corners = [loss(shares) for shares in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))]
    halfway = [loss(shares) for shares in ((0.5, 0.5, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5))]
    x, y = _axis([p[0] for p in places], side), _axis([p[1] for p in places], side)
    grid = [[loss(shares_at(places, (column, row))) for column in x] for row in y]
    barriers = barriers_between(at_corners, halfway)
    figures: dict[str, Any] = {
        "places": [list(place) for place in places],
        "loss_at_places": at_corners,
        "loss_halfway": {f"{i + 1}-{j + 1}": value for (i, j), value in zip(_PAIRS, halfway, strict=True)},
        "barrier": {f"{i + 1}-{j + 1}": value for (i, j), value in zip(_PAIRS, barriers, strict=True)},
        "x": x,
        "y": y,
        "loss": grid,
        "images": [len(labels) for _, labels in probe.batches],
    }
    holds = max(barriers) <= TOLERANCE
    note = replay_note(run.folder)
    return Analysis(
        what=WHAT,
        title="The loss around the weights of three tasks",
        claim="The weights after successive tasks lie in one low-loss region, with no barrier between them (SD-LoRA, "
        "section 4).",
        paragraph=_paragraph(figures, barriers, holds) + (f" {note}" if note else ""),
        holds=holds,
        figures=figures,
        drawing=svg(lambda figure: _draw(figure, figures), width=_WIDTH, height=_height(x, y)),
        alt=f"Contours of the loss on the plane through the weights after tasks 1, 2 and 3, which are marked; the loss "
        f"there is {', '.join(f'{value:.2f}' for value in at_corners)}.",
    )


def triangle(corners: list[Weights]) -> list[tuple[float, float]]:
    """Return where three weights lie on their plane: the first at 0, the second on the first axis, the third above it.

    Raises:
        MethodError: two of them are equal, or all three on one line.
    """

    def distance(i: int, j: int) -> float:
        squares = ((corners[i][name].double() - corners[j][name].double()).square().sum() for name in corners[i])
        return math.sqrt(sum(float(square) for square in squares))

    base, left, right = distance(0, 1), distance(0, 2), distance(1, 2)
    x = (base**2 + left**2 - right**2) / (2 * base) if base else 0.0
    height = math.sqrt(max(left**2 - x**2, 0.0))
    if not base or height < 1e-6 * base:
        raise MethodError(
            f"analysis {WHAT}",
            expected="weights that differ after each of three tasks",
            got="three that lie on one line or are equal",
            next_step="take a run that trains: more training.epochs, or another method",
        )
    return [(0.0, 0.0), (base, 0.0), (x, height)]


def shares_at(places: list[tuple[float, float]], at: tuple[float, float]) -> tuple[float, float, float]:
    """Return how much of each of the three weights makes the weights at a place on their plane; they add up to 1."""
    base, (x, height) = places[1][0], places[2]
    third = at[1] / height
    second = (at[0] - third * x) / base
    return 1 - second - third, second, third


def barriers_between(at_corners: list[float], halfway: list[float]) -> list[float]:
    """Return for each pair how far the loss halfway lies above the higher end; below 0 where it is lower."""
    return [middle - max(at_corners[i], at_corners[j]) for (i, j), middle in zip(_PAIRS, halfway, strict=True)]


def _axis(values: list[float], points: int) -> list[float]:
    low, high = min(values), max(values)
    margin = _MARGIN * (high - low)
    return np.linspace(low - margin, high + margin, points).tolist()


def _height(x: list[float], y: list[float]) -> float:
    """Return the figure's height at which a plane with equal axes fills it, in inches."""
    return max(_PANEL_WIDTH * (y[-1] - y[0]) / (x[-1] - x[0]) + _AROUND, _LOWEST)


def _paragraph(figures: dict[str, Any], barriers: list[float], holds: bool) -> str:
    ends = ", ".join(f"{value:.3f}" for value in figures["loss_at_places"])
    between = ", ".join(f"{value:.3f}" for value in figures["loss_halfway"].values())
    return (
        f"{verdict(holds)}: the loss over the three tasks is {ends} after tasks 1, 2 and 3, and {between} halfway "
        f"between 1 and 2, 2 and 3, 1 and 3. Halfway it is at most {max(barriers):+.3f} above the higher end; up to "
        f"{TOLERANCE} is no barrier. Measured on {min(figures['images'])} test images of each task, a plane out of "
        "very many."
    )


def _draw(figure: Figure, figures: dict[str, Any]) -> None:
    panel = figure.subplots()
    filled = panel.contourf(figures["x"], figures["y"], figures["loss"], levels=14, cmap="viridis_r")
    figure.colorbar(filled, ax=panel, label="loss, mean of three tasks")
    places = figures["places"]
    panel.plot(*zip(*places, strict=True), color="white", linewidth=3.5)
    panel.plot(*zip(*places, strict=True), color="black", linewidth=1.2, marker="o", markersize=6)
    for k, place in enumerate(places):
        box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        panel.annotate(
            f"after task {k + 1}", place, xytext=(0, 9), textcoords="offset points", ha="center", fontsize=9, bbox=box
        )
    panel.set_aspect("equal")
    panel.set_xlabel("distance in the weights")
    panel.set_ylabel("at a right angle to it")
