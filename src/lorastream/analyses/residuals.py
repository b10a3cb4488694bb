"""How much of the newest direction the earlier ones cannot say, while it learns.

SD-LoRA (ICLR 2025), Fig. 3a: the least-squares residual of the direction under way grows with the iterations, from near
zero. What the directions are divided by there is not said, and it decides: a `U D` that is not divided by anything
grows from zero because U does. So every reading is measured, and the verdict is on directions of unit norm, as
equations 4 and 7 write them. Each projection is fitted alone, through r x r products only.

The tasks learn again from the model before them, with the numbers of the run: how near they end to the run is measured.
"""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from lorastream.adapters import Adapters
from lorastream.adapters.directions import Norm, fit_newest
from lorastream.analyses.drawing import line, svg
from lorastream.analyses.finished import FinishedRun
from lorastream.analyses.options import Options
from lorastream.analyses.result import Analysis, verdict
from lorastream.analyses.training_progress import TrainingProgress
from lorastream.errors import MethodError
from lorastream.learner import Learner
from lorastream.training.hooks import hook

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHAT = "residuals"
NEAR_ZERO = 0.5
"""The share of the largest possible residual, that of a direction at right angles, below which it is near zero."""
GROWS = 0.05
DIVISORS: dict[Norm, str] = {"exact": "‖U D‖", "product": "‖U‖ ‖D‖", "none": "nothing"}


class Watch:
    """Measures the residual after some of the steps of a task, by hanging itself onto the method.

    Args:
        learner: about to learn a task.
        steps: after which to measure, counted from 1.
    """

    def __init__(self, learner: Learner, steps: set[int]) -> None:
        self.steps, self.taken = steps, 0
        self.measured: list[dict[str, Any]] = []
        self.before = hook(learner.method, "after_step")
        setattr(learner.method, "after_step", self)  # noqa: B010 (a hook that the class may not have)

    def __call__(self, model: Any, task: Any) -> None:  # noqa: ANN401 (as the loop calls it)
        """Take note of a step."""
        self.before(model, task)
        self.taken += 1
        if self.taken in self.steps:
            self.measured.append({"step": self.taken, **residuals_of(model.adapters)})


def residuals_of(adapters: Adapters) -> dict[str, dict[str, float]]:
    """Return for every divisor the mean residual norm over the projections, its standard error, and its largest value.

    The largest value is the length of the direction itself, the mean over the projections.
    """
    for adapter in adapters:
        list(adapter.factors())  # the stacks take over what the live factors are after the step
    found: dict[str, dict[str, float]] = {}
    for norm, fits in fit_newest(adapters, jointly=False).items():
        values = [fit.readings["fro"] for fit in fits]
        error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        found[norm] = {"mean": fmean(values), "standard_error": error}
    return found


def analyse(run: FinishedRun, options: Options) -> Analysis:
    """Let a few tasks learn again, and fit the newest direction by the earlier ones as it learns."""
    run.at_least(2, WHAT)
    _check(run)
    chosen = sorted({2, run.n_tasks, (2 + run.n_tasks) // 2})[: options.tasks or 3]
    listen = TrainingProgress(run.progress, total=len(chosen), doing="learning again")
    tasks = [_one(run, n, options.points or 12, listen) for n in chosen]
    exact = [[point["exact"]["mean"] for point in task["points"]] for task in tasks]
    holds = all(grows_from_near_zero(values) for values in exact)
    figures = {"tasks": tasks, "divisors": DIVISORS}
    return Analysis(
        what=WHAT,
        title="Residual of the newest direction against earlier ones",
        claim="The least-squares residual of the direction under way grows during training, from near zero (SD-LoRA, "
        "Fig. 3a).",
        paragraph=_paragraph(tasks, holds),
        holds=holds,
        figures=figures,
        drawing=svg(lambda figure: _draw(figure, tasks), width=9.0),
        alt="The residual of the newest direction over the training steps, for directions divided by their norm, by "
        "the product of their factors' norms, and by nothing.",
    )


def grows_from_near_zero(values: list[float]) -> bool:
    """Whether residuals of unit directions, at most 1, begin near zero and end higher."""
    return values[0] < NEAR_ZERO and values[-1] > values[0] + GROWS


def _check(run: FinishedRun) -> None:
    """See that the run kept the directions of its tasks apart.

    Raises:
        MethodError: it has at most one.
    """
    ranks = [tensor for name, tensor in run.parts.get("adapters", {}).items() if name.endswith("/ranks")]
    if not any(int((rank > 0).sum()) > 1 for rank in ranks):
        raise MethodError(
            f"analysis {WHAT}",
            expected="a run that keeps the direction of every task: sd_lora and its variants, or o_lora",
            got=f"{run.record.method}, which keeps {'one update' if ranks else 'none'}",
            next_step="run one: --methods sd_lora",
        )


def _one(run: FinishedRun, n: int, points: int, listen: TrainingProgress) -> dict[str, Any]:
    """Let task n (from 1) learn again and return what was measured."""
    task = run.stream[n - 1]
    learner = run.after(n - 1, listen=listen)
    total = run.recipe.training.epochs * task.train.n_batches(run.recipe.training.batch_size)
    steps = {int(step) for step in np.geomspace(1, max(total, 1), points).round()}
    watch = Watch(learner, steps)
    learner.learn(task)
    after = run.states[n - 1]().parts["adapters"]
    return {
        "task": n,
        "earlier": n - 1,
        "points": watch.measured,
        "largest_difference_from_the_run": _difference(learner.model.adapters.tensors(), after),
    }


def _difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float | None:
    """Return how far the updates ended from those of the run; None where absorption dropped one of them only."""
    pairs = [(one[name], other[name]) for name in one if name.endswith(("/up", "/down"))]
    if any(a.shape != b.shape for a, b in pairs):
        return None
    return max(float((a.cpu() - b.cpu()).abs().max()) for a, b in pairs)


def _paragraph(tasks: list[dict[str, Any]], holds: bool) -> str:
    def ends(norm: str) -> str:
        parts = [(t["task"], t["points"][0][norm]["mean"], t["points"][-1][norm]["mean"]) for t in tasks]
        return "; ".join(f"{first:.3g} to {last:.3g} (task {number})" for number, first, last in parts)

    of_which = "" if holds else " for unit directions"
    bare = all(t["points"][-1]["none"]["mean"] > t["points"][0]["none"]["mean"] for t in tasks)
    further = (
        "Undivided, the residual does grow from near zero, but so does the update itself: that says nothing of how "
        "well the earlier ones fit it."
        if bare
        else "Undivided, it does not grow either."
    )
    return (
        f"{verdict(holds)}{of_which}: from the first step to the last, the residual of unit directions goes from "
        f"{ends('exact')}, where 1 is a direction at right angles to all earlier ones; undivided it goes from "
        f"{ends('none')}. {further}"
    )


def _draw(figure: Figure, tasks: list[dict[str, Any]]) -> None:
    panels = figure.subplots(1, len(DIVISORS))
    for panel, (norm, divisor) in zip(panels, DIVISORS.items(), strict=True):
        for number, task in enumerate(tasks):
            steps = [point["step"] for point in task["points"]]
            values = [point[norm]["mean"] for point in task["points"]]
            line(panel, steps, values, number=number, label=f"task {task['task']}")
        panel.set_title(f"divided by {divisor}", fontsize=10)
        panel.set_xscale("log")
        panel.set_xlabel("training steps")
        panel.set_ylim(bottom=0)
    panels[0].set_ylim(0, 1.08)
    panels[0].set_ylabel("residual norm, mean of projections")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(tasks), frameon=False)
