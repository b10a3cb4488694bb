"""What a run came to, in words and in single figures."""

from __future__ import annotations

from collections.abc import Sequence

from lorastream.reports.groups import training_seconds
from lorastream.reports.units import NOTHING, count, duration, number_word, percent, size
from lorastream.runs import RunRecord

_LONGEST_LIST = 120
_WHOLE_FROM = 10  # milliseconds


def title(record: RunRecord) -> str:
    """Return the name of the page."""
    return f"{record.method} on {record.recipe_name}, seed {record.seed}"


def outcome(record: RunRecord) -> str:
    """Return one or two sentences on what happened."""
    learnt, announced = len(record.accuracy_matrix), len(record.tasks)
    classes = sum(len(names) for names in record.tasks[:learnt])
    of = f" of {_tasks(announced)}" if announced > learnt else ""
    progress = f"{number_word(learnt)}{of}" if of else _tasks(learnt)
    dataset = record.dataset.name if record.dataset else record.recipe_name
    if not learnt:
        return f"{record.method} {_STARTED[record.status]} {dataset}; no task is learnt{' yet' * _is_running(record)}."
    what = f"{record.method} {_LEARNT[record.status]} {progress} ({classes} {_plural(classes, 'class')}) of {dataset}"
    return f"{what}. {_figures(record)}"


_STARTED = {
    "finished": "ran on",
    "running": "is running on",
    "interrupted": "was interrupted on",
    "failed": "failed on",
}
_LEARNT = {
    "finished": "learnt",
    "running": "is running: so far it has learnt",
    "interrupted": "was interrupted after it had learnt",
    "failed": "failed after it had learnt",
}


def _figures(record: RunRecord) -> str:
    where = "At the end" if record.status == "finished" else "After the last of them"
    accuracy = f"{where} it has {percent(record.average_accuracy)} % accuracy on average over the tasks"
    if record.forgetting is None:
        return f"{accuracy}."
    if record.forgetting < 0:
        return f"{accuracy}; earlier tasks are {percent(-record.forgetting)} points better than they ever were before."
    return f"{accuracy}, and has forgotten {percent(record.forgetting)} points of what it knew."


def tiles(record: RunRecord) -> list[tuple[str, str, str]]:
    """Return name, value and unit or remark of the figures at the top."""
    step = next((value for value in reversed(record.step_milliseconds_per_task) if value is not None), None)
    return [
        ("average accuracy", percent(record.average_accuracy), "%"),
        ("average incremental", percent(record.average_incremental_accuracy), "%"),
        ("forgetting", percent(record.forgetting), "points"),
        ("task-restricted", percent(record.task_restricted_average_accuracy), "%"),
        ("trainable", count(record.trainable_parameters), "parameters"),
        ("stored", size(record.stored_bytes), ""),
        ("training time", duration(training_seconds(record)), ""),
        ("step, last task", milliseconds(step), ""),
        ("peak memory", size(record.peak_memory_bytes), ""),
    ]


def milliseconds(value: float | None) -> str:
    """Return a time in whole milliseconds; a short one with a decimal."""
    if value is None:
        return NOTHING
    return f"{value:,.0f} ms" if value >= _WHOLE_FROM else f"{value:.1f} ms"


def listed(names: Sequence[str]) -> str:
    """Return names with commas, the first ones where they are many."""
    told = ", ".join(names)
    if len(told) <= _LONGEST_LIST:
        return told
    number = f", ... ({len(names)} in all)"
    return told[: _LONGEST_LIST - len(number)].rsplit(", ", 1)[0] + number


def classes_of(record: RunRecord, task: int) -> str:
    """Return the names of a task's classes."""
    return listed(record.tasks[task]) if task < len(record.tasks) else NOTHING


def class_name(record: RunRecord, label: int) -> str:
    """Return the name of a class by its label: its place in the order of arrival."""
    names = [name for task in record.tasks for name in task]
    return names[label] if label < len(names) else f"class {label}"


def _is_running(record: RunRecord) -> bool:
    return record.status == "running"


def _tasks(number: int) -> str:
    return f"{number_word(number)} {_plural(number, 'task')}"


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else {"class": "classes", "task": "tasks"}[noun]
