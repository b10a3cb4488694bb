"""Along the straight line between the weights after two tasks: does the first task stay as good as it was?

SD-LoRA (ICLR 2025), Fig. 4b and c: W(λ) = (1 - λ) W1 + λ W2 on the merged weights. The head is the one after the second
task, whose rows of the first are as they were. Which classes are told apart, the paper does not say: both are measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lorastream.analyses.drawing import line, svg
from lorastream.analyses.finished import FinishedRun
from lorastream.analyses.options import Options
from lorastream.analyses.result import Analysis, verdict
from lorastream.analyses.states import replay_note
from lorastream.analyses.weights import Measured, Probe, combined, weights_after

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHAT = "path"
FLAT = 0.05
"""How far the first task's accuracy may fall along the path and still be called flat."""


def analyse(run: FinishedRun, options: Options) -> Analysis:
    """Measure both tasks along the path between the weights after task 1 and after task 2."""
    run.at_least(2, WHAT)
    points, images = options.points or 11, options.images or 100
    tasks = [run.stream[0], run.stream[1]]
    learner, ends = weights_after(run, 2, what=WHAT)
    probe, measured = Probe(learner, tasks, images), list[list[Measured]]()
    shares = [k / (points - 1) for k in range(points)]
    for k, share in enumerate(shares):
        run.progress(k, points, "measuring along the path")
        measured.append(probe.at(combined(ends, (1 - share, share))))
    figures = _figures(shares, measured, [len(labels) for _, labels in probe.batches])
    holds = stays_flat(figures["task_restricted_accuracy"]["task_1"], figures["task_restricted_accuracy"]["task_2"])
    note = replay_note(run.folder)
    return Analysis(
        what=WHAT,
        title="Between the weights of two tasks",
        claim="Along the line from the weights after task 1 to those after task 2, SD-LoRA gains task 2 and keeps "
        "task 1; vanilla LoRA loses it (SD-LoRA, Fig. 4).",
        paragraph=_paragraph(figures, holds) + (f" {note}" if note else ""),
        holds=holds,
        figures=figures,
        drawing=svg(lambda figure: _draw(figure, figures), width=7.2),
        alt=f"Accuracy on tasks 1 and 2 at {points} points between the weights after them, among the classes of both "
        "and within each task.",
    )


def stays_flat(first: list[float], second: list[float]) -> bool:
    """Whether the first task never falls by more than `FLAT` below its start, and the second ends above its start."""
    return min(first) >= first[0] - FLAT - 1e-9 and second[-1] > second[0]


def _figures(shares: list[float], measured: list[list[Measured]], images: list[int]) -> dict[str, Any]:
    def of(attribute: str) -> dict[str, list[float]]:
        return {f"task_{k + 1}": [getattr(point[k], attribute) for point in measured] for k in range(2)}

    return {
        "share_of_second": shares,
        "accuracy": of("accuracy"),
        "task_restricted_accuracy": of("task_restricted_accuracy"),
        "images": images,
    }


def _paragraph(figures: dict[str, Any], holds: bool) -> str:
    own, both = figures["task_restricted_accuracy"], figures["accuracy"]

    def change(values: list[float]) -> str:
        return f"{100 * values[0]:.1f} to {100 * values[-1]:.1f} %"

    return (
        f"{verdict(holds)}: within its own classes, task 1 goes from {change(own['task_1'])} along the path (lowest "
        f"{100 * min(own['task_1']):.1f} %), task 2 from {change(own['task_2'])}. Among the classes of both, task 1 "
        f"goes from {change(both['task_1'])} and task 2 from {change(both['task_2'])}. Flat means a fall of at most "
        f"{100 * FLAT:.0f} points; measured on {figures['images'][0]} and {figures['images'][1]} test images."
    )


def _draw(figure: Figure, figures: dict[str, Any]) -> None:
    panels = figure.subplots(1, 2, sharey=True)
    titles = {"task_restricted_accuracy": "within the own task's classes", "accuracy": "among the classes of both"}
    for panel, (key, title) in zip(panels, titles.items(), strict=True):
        for k in range(2):
            values = [100 * value for value in figures[key][f"task_{k + 1}"]]
            line(panel, figures["share_of_second"], values, number=k, label=f"task {k + 1}")
        panel.set_title(title, fontsize=10)
        panel.set_ylim(-3, 103)
        panel.set_xlabel("from after task 1 (0) to after task 2 (1)")
    panels[0].set_ylabel("accuracy, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
