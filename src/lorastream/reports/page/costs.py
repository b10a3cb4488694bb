"""What the run cost, task by task: time, memory, what learns, what is stored; and the loss on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from lorastream.reports.page.drawing import ACCENT, SECOND, drawing, numbers, over_tasks
from lorastream.reports.page.figure import Figure, Section, Table
from lorastream.reports.page.words import milliseconds
from lorastream.reports.units import count, duration, size
from lorastream.runs import RunRecord

_HEIGHT = 190
_COUNTS: dict[float, str] = {1: "parameters", 1e3: "thousand parameters", 1e6: "million parameters"}
_BYTES: dict[float, str] = {1: "B", 1e3: "kB", 1e6: "MB", 1e9: "GB", 1e12: "TB"}
_MILLISECONDS: dict[float, str] = {1: "ms", 1e3: "s"}
_SECONDS: dict[float, str] = {1: "s", 60: "min", 3600: "h"}

Values = Sequence[float | None]


@dataclass(frozen=True)
class _Cost:
    name: str
    title: str
    values: Values
    units: dict[float, str]
    spelling: Callable[[float | None], str]
    caption: str

    @property
    def scale(self) -> float:
        """The largest unit that the largest value reaches."""
        largest = max((value for value in self.values if value is not None), default=0.0)
        return max((unit for unit in self.units if unit <= largest), default=1)


def costs_section(record: RunRecord) -> Section:
    """Return the part of the page about costs; empty where nothing was measured."""
    costs = [cost for cost in _costs(record) if any(value is not None for value in cost.values)]
    tables = (("By task", _table(costs)),) if costs else ()
    return Section(name="costs", title="Costs by task", figures=tuple(map(_figure, costs)), tables=tables)


def _costs(record: RunRecord) -> list[_Cost]:
    stored = "What the method adds to the backbone on disk, all tasks together."
    memory = "Of the accelerator during the task; on a processor of the whole process so far."
    step, evaluation = "Median over the task's optimiser steps.", "Wall time of evaluating every class seen so far."
    trainable, time = "What learns while the task is learnt.", "Wall time of learning the task."
    return [
        _Cost("stored", "Stored so far", record.stored_bytes_per_task, _BYTES, size, stored),
        _Cost("trainable", "Trainable parameters", record.trainable_parameters_per_task, _COUNTS, count, trainable),
        _Cost("step", "Time of a step", record.step_milliseconds_per_task, _MILLISECONDS, milliseconds, step),
        _Cost("memory", "Peak memory", record.peak_memory_bytes_per_task, _BYTES, size, memory),
        _Cost("time", "Training time", record.seconds_per_task, _SECONDS, duration, time),
        _Cost("evaluation", "Evaluation time", record.evaluation_seconds_per_task, _SECONDS, duration, evaluation),
    ]


def _figure(cost: _Cost) -> Figure:
    known = [value for value in cost.values if value is not None]
    with drawing(cost.name, height=_HEIGHT, left=46) as drawn:
        heights = [value / cost.scale for value in numbers(cost.values)]
        drawn.panel.bar(range(1, len(heights) + 1), heights, width=0.7, color=ACCENT)
        over_tasks(drawn.panel, len(heights), "task", bars=True)
        drawn.panel.set_ylim(0, max(1.05 * max(known) / cost.scale, 1e-9))
        drawn.panel.set_ylabel(cost.units[cost.scale])
        drawn.panel.locator_params(axis="y", nbins=5)
    return Figure(
        name=cost.name,
        title=cost.title,
        alt=f"Bar chart over the tasks: {cost.spelling(min(known))} to {cost.spelling(max(known))}.",
        caption=cost.caption,
        svg=drawn.svg,
    )


def _table(costs: Sequence[_Cost]) -> Table:
    columns = [[cost.spelling(value) for value in cost.values] for cost in costs]
    rows = [[str(t + 1), *row] for t, row in enumerate(zip_longest(*columns, fillvalue=""))]
    return Table.of(["task", *(cost.title.lower() for cost in costs)], rows)


def learning_section(record: RunRecord) -> Section:
    """Return the part of the page about the loss over epochs; empty where no epoch was recorded."""
    losses = [epoch.loss for epoch in record.epochs]
    if not any(loss is not None for loss in losses):
        return Section(name="learning", title="Learning")
    return Section(name="learning", title="Learning", figures=(_loss(record), *_training_accuracy(record)))


def _loss(record: RunRecord) -> Figure:
    known = [epoch.loss for epoch in record.epochs if epoch.loss is not None]
    return Figure(
        name="loss",
        title="Loss",
        alt=f"Line chart over {len(record.epochs)} epochs: from {known[0]:.3g} to {known[-1]:.3g}.",
        caption="Mean of each epoch; a line for each task.",
        svg=_by_epoch(record, "loss", [epoch.loss for epoch in record.epochs], SECOND, "loss"),
        table=Table.of(
            ["task", "epoch", "loss", "training accuracy, %", "lr"],
            [
                [
                    str(e.task + 1),
                    str(e.epoch + 1),
                    _spelt(e.loss),
                    _spelt(e.accuracy and 100 * e.accuracy),
                    _spelt(e.lr),
                ]
                for e in record.epochs
            ],
        ),
    )


def _training_accuracy(record: RunRecord) -> list[Figure]:
    values = [None if epoch.accuracy is None else 100 * epoch.accuracy for epoch in record.epochs]
    known = [value for value in values if value is not None]
    if not known:
        return []
    return [
        Figure(
            name="training-accuracy",
            title="Training accuracy",
            alt=f"Line chart over {len(values)} epochs; the last one ends at {known[-1]:.1f} %.",
            caption="On the augmented training images of the task, as the loss saw them.",
            svg=_by_epoch(record, "training-accuracy", values, ACCENT, "%"),
        )
    ]


def _by_epoch(record: RunRecord, name: str, values: Values, colour: str, unit: str) -> str:
    with drawing(name, height=_HEIGHT) as drawn:
        panel = drawn.panel
        for task in sorted({epoch.task for epoch in record.epochs}):
            own = [i for i, epoch in enumerate(record.epochs) if epoch.task == task]
            line = numbers([values[i] for i in own])
            panel.plot([i + 1 for i in own], line, color=colour, linewidth=1.4, marker="o", markersize=2.6)
        panel.set_ylim(bottom=0)
        panel.locator_params(axis="x", integer=True, nbins=8)
        panel.locator_params(axis="y", nbins=5)
        panel.set_xlabel("epochs, all tasks")
        panel.set_ylabel(unit)
    return drawn.svg


def _spelt(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
