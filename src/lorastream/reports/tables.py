"""Tables of finished runs for the terminal: accuracy matrices side by side, and a line of figures for each method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lorastream.reports.groups import Figure, Group, group, training_seconds
from lorastream.reports.units import NOTHING, count, duration, number_word, percent, size
from lorastream.runs import RunRecord

Number = Callable[[RunRecord], float | None]
Spelling = Callable[[float | None], str]

COLUMNS: dict[str, tuple[Number, Spelling]] = {
    "average accuracy": (lambda record: record.average_accuracy, percent),
    "average incremental": (lambda record: record.average_incremental_accuracy, percent),
    "forgetting": (lambda record: record.forgetting, percent),
    "task-restricted": (lambda record: record.task_restricted_average_accuracy, percent),
    "trainable": (lambda record: record.trainable_parameters, count),
    "passes": (lambda record: record.inference_passes, count),
    "stored": (lambda record: record.stored_bytes, size),
    "time": (training_seconds, duration),
}
"""The columns of the summary: what is read off a record, and how it is spelt."""

_HEADINGS = {
    "average accuracy": "average\naccuracy",
    "average incremental": "average\nincre-\nmental",
    "forgetting": "forget-\nting",
    "task-restricted": "task-\nrestric-\nted",
    "trainable": "train-\nable",
}
_SEEDS_A_LINE = 3
_GAP = 3
_NARROWEST = 5  # characters that a column takes at least
_LONGEST_CLASSES = 5
_LIGHT, _DARK = (236, 243, 250), (8, 64, 129)
_WHITE_FROM = 0.55


def accuracy_matrices(records: Sequence[RunRecord]) -> RenderableType:
    """Show the accuracy matrices of several runs in percent, side by side where the terminal is wide enough.

    Row "after task t", column "task k". Darker is better, and every cell says its number. A matrix too wide for the
    terminal loses its decimals first, then shows evenly spread tasks and says so.
    """
    return _SideBySide(tuple(records))


def summary_table(records: Sequence[RunRecord]) -> Table:
    """Show a line of figures for each method; over several seeds the mean and below it the standard deviation.

    The passes of one prediction are a column only where some run takes more than one.
    """
    groups = group(records)
    one_pass = all(record.inference_passes == 1 for record in records)
    columns = {name: column for name, column in COLUMNS.items() if not (one_pass and name == "passes")}
    several = len({entry.recipe for entry in groups}) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for heading in (["recipe"] if several else []) + ["method"]:
        table.add_column(heading, overflow="fold")
    for heading in ("seed", *columns):
        table.add_column(_HEADINGS.get(heading, heading), justify="right")
    for entry in groups:
        names = ([entry.recipe] if several else []) + [entry.label.replace(" (", "\n(")]
        seeds = ",".join(map(str, entry.seeds)).replace(",", ",\n" if len(entry.seeds) > _SEEDS_A_LINE else ",")
        cells = [
            mean_and_deviation(entry.figure(number), spelling, between="\n") for number, spelling in columns.values()
        ]
        table.add_row(*names, seeds, *cells)
    return table


def closing_line(records: Sequence[RunRecord]) -> str:
    """Compare the runs in one sentence of figures: average accuracy in percent, forgetting in points."""
    groups = [entry for entry in group(records) if entry.n_tasks]
    if not groups:
        return "No task was learnt."
    lengths = {entry.n_tasks for entry in groups}
    if len(lengths) > 1:
        return "; ".join(f"{_outcome(entry)} after {_tasks(entry.n_tasks)}" for entry in groups) + "."
    return f"After {_tasks(lengths.pop())}: {', '.join(_outcome(entry) for entry in groups)}."


def _outcome(entry: Group) -> str:
    accuracy = entry.figure(lambda record: record.average_accuracy)
    forgetting = entry.figure(lambda record: record.forgetting)
    spread = "" if accuracy.deviation is None else f" ± {percent(accuracy.deviation)}"
    remarks = [] if forgetting.mean is None else [f"forgetting {percent(forgetting.mean)}"]
    remarks += [f"{number_word(len(entry.records))} seeds"] if len(entry.records) > 1 else []
    return f"{entry.label} {percent(accuracy.mean)}{spread} %" + (f" ({', '.join(remarks)})" if remarks else "")


def _tasks(number: int) -> str:
    return f"{number_word(number)} {'task' if number == 1 else 'tasks'}"


def mean_and_deviation(figure: Figure, spelling: Spelling, *, between: str) -> str:
    """Spell a figure; the deviation only where it says something, after `between`."""
    # That a count does not vary with the seed goes without saying; that an accuracy does not, does not.
    silent = figure.deviation is None or (figure.deviation == 0 and spelling is not percent)
    return spelling(figure.mean) + ("" if silent else f"{between}± {spelling(figure.deviation)}")


@dataclass(frozen=True)
class _SideBySide:
    records: tuple[RunRecord, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line: list[Table] = []
        used = 0
        for record in self.records:
            table = _fitting(record, console, options)
            width = Measurement.get(console, options, table).maximum
            if line and used + _GAP + width > options.max_width:
                yield _row(line)
                line, used = [], 0
            used += width + (_GAP if line else 0)
            line.append(table)
        if line:
            yield _row(line)


def _row(tables: Sequence[Table]) -> Table:
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_row(*tables)
    return grid


def _fitting(record: RunRecord, console: Console, options: ConsoleOptions) -> Table:
    """Return the matrix of a run in the fullest form that fits the width."""
    n_tasks = len(record.accuracy_matrix)
    unlimited = options.update(max_width=1 << 16)
    shown = min(n_tasks, options.max_width // _NARROWEST)
    decimals = 1 if shown == n_tasks else 0
    table = _matrix(record, _spread(n_tasks, shown), decimals=decimals)
    while shown > 1 and Measurement.get(console, unlimited, table).maximum > options.max_width:
        shown, decimals = (shown, 0) if decimals else (shown - 1, 0)
        table = _matrix(record, _spread(n_tasks, shown), decimals=decimals)
    return table


def _spread(n_tasks: int, shown: int) -> list[int]:
    """Return `shown` of the tasks, evenly spread, the first and the last among them."""
    return sorted({round(place * (n_tasks - 1) / max(shown - 1, 1)) for place in range(shown)})


def _matrix(record: RunRecord, tasks: Sequence[int], *, decimals: int) -> Table:
    title = f"{record.method}, seed {record.seed}"
    table = Table(title=title, box=None, pad_edge=False, padding=(0, 0, 0, 1), title_justify="left")
    table.min_width = len(title)
    if len(tasks) < len(record.accuracy_matrix):
        table.caption = f"tasks shown: {len(tasks)} of {len(record.accuracy_matrix)}"
    classes = [" ".join(record.tasks[k]) for k in tasks]
    named = all(len(names) <= _LONGEST_CLASSES for names in classes)
    table.add_column("after\ntask", justify="right", vertical="bottom")
    for k, names in zip(tasks, classes, strict=True):
        table.add_column(Text(f"task\n{k + 1}" + (f"\n{names}" if named else "")), justify="right")
    for t in tasks:
        row = record.accuracy_matrix[t]
        table.add_row(str(t + 1), *(_accuracy(row[k], decimals) if k <= t else "" for k in tasks))
    return table


def _accuracy(value: float | None, decimals: int) -> Text:
    if value is None:
        return Text(NOTHING)
    red, green, blue = (round(light + value * (dark - light)) for light, dark in zip(_LIGHT, _DARK, strict=True))
    ink = "white" if value > _WHITE_FROM else "black"
    return Text(f"{100 * value:.{decimals}f}", style=f"{ink} on rgb({red},{green},{blue})")
