"""Put runs into tables in which every line may be compared with every other, and say what was left out and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lorastream.errors import CheckpointError, unknown_name
from lorastream.reports.comparison.published import Published, published
from lorastream.reports.comparison.remarks import left_out, remarks
from lorastream.reports.comparison.settings import (
    FINGERPRINT,
    Leaves,
    alike,
    distinctions,
    gathered,
    own_settings,
    same_line,
    shared_settings,
)
from lorastream.reports.comparison.significance import Versus, against
from lorastream.reports.groups import Figure
from lorastream.runs import RunRecord

_LONGEST_NAME = 90


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method with one set of hyper-parameters, over its seeds.

    Attributes:
        method: its name, with what distinguishes it from other lines of the same method.
        records: finished runs, by seed; at least one.
        published: what others measured, if anything.
        versus: against the line that the table compares with; None for that line itself.
        rank: by mean accuracy, 1 is the best, equals share the mean of their ranks; None without an accuracy.
    """

    method: str
    records: tuple[RunRecord, ...]
    published: Published | None = None
    versus: Versus | None = None
    rank: float | None = None

    @property
    def accuracy(self) -> Figure:
        """Average accuracy after the last task, over the seeds; a seed that was run twice counts once."""
        return self.figure(lambda record: record.average_accuracy)

    @property
    def seeds(self) -> list[int]:
        """The seeds, each once."""
        return sorted({record.seed for record in self.records})

    def figure(self, number: Callable[[RunRecord], float | None]) -> Figure:
        """Average a number over the seeds; those of one seed and class order are averaged first."""
        return Figure.of(Figure.of(map(number, records)).mean for records in self.outcomes().values())

    def outcomes(self) -> dict[tuple[object, ...], list[RunRecord]]:
        """Return the runs by what pairs them with those of another line: seed and class order."""
        found: dict[tuple[object, ...], list[RunRecord]] = {}
        for record in self.records:
            found.setdefault((record.seed, record.tasks), []).append(record)
        return found


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One table: a recipe on the same images, tasks and backbone, with the same budget.

    Attributes:
        name: the recipe, with what distinguishes it from other tables of the same recipe.
        rows: the most accurate first.
        reference: the line that the others are compared with.
        left_out: runs that are not in the table, and why.
        remarks: what a reader must know before comparing.
    """

    name: str
    rows: tuple[Row, ...]
    reference: str
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All tables, and how the methods rank over them.

    Attributes:
        settings: the tables, in order of first appearance.
        mean_ranks: of the methods that are in every table, the best first; empty with fewer than two tables.
        left_out: what is in no table because nothing of its setting finished.
        same_data_may_help: whether tables differ by the fingerprint of the data alone, which older releases had change
            with a file's place and time.
    """

    settings: tuple[Setting, ...]
    mean_ranks: tuple[tuple[str, float], ...] = ()
    left_out: tuple[str, ...] = ()
    same_data_may_help: bool = False


def compare(records: Sequence[RunRecord], *, reference: str | None = None, same_data: bool = False) -> Comparison:
    """Compare runs.

    Args:
        records: any; those that did not finish are left out by name.
        reference: the method that the others are compared with; by default, in each table, the most accurate of those
            with the most seeds.
        same_data: take runs whose fingerprints of the data differ as runs on the same data.

    Raises:
        CheckpointError: no run finished.
        UserError: no table has the reference.
    """
    finished = [record for record in records if record.status == "finished" and record.accuracy_matrix]
    if not finished:
        raise CheckpointError(
            "lorastream report --compare",
            expected="at least one finished run",
            got="; ".join(left_out(records)) or "no run",
            next_step="let a run finish, or leave --compare out to see how far they came",
        )
    shared = [shared_settings(record, same_data=same_data) for record in records]
    groups = gathered(range(len(records)), lambda i, j: alike(shared[i], shared[j]))
    names = _names([shared[group[0]] for group in groups])
    settings: list[Setting] = []
    nothing_finished: list[str] = []
    for name, group in zip(names, groups, strict=True):
        members = [records[i] for i in group]
        if any(record in finished for record in members):
            settings.append(_setting(name, members, reference))
        else:
            nothing_finished += [f"{name}: {reason}" for reason in left_out(members)]
    _check_reference(reference, settings)
    return Comparison(
        settings=tuple(settings),
        mean_ranks=_mean_ranks(settings),
        left_out=tuple(nothing_finished),
        same_data_may_help=not same_data and _differ_by_fingerprint_alone([shared[group[0]] for group in groups]),
    )


def _setting(name: str, members: Sequence[RunRecord], reference: str | None) -> Setting:
    finished = [record for record in members if record.status == "finished" and record.accuracy_matrix]
    lines = gathered(finished, same_line)
    methods = _labels([own_settings(line[0]) for line in lines])
    rows = [
        Row(method=method, records=tuple(sorted(line, key=lambda r: r.seed)), published=published(line[0]))
        for method, line in zip(methods, lines, strict=True)
    ]
    rows = _ranked(rows)
    compared_with = next((row for row in rows if reference in {row.method, row.records[0].method}), _best(rows))
    tested = _tested(rows, compared_with)
    return Setting(
        name=name,
        rows=tested,
        reference=compared_with.method,
        left_out=tuple(left_out(members)),
        remarks=tuple(remarks([(row.method, row.records) for row in rows])),
    )


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with their ranks, the best first, those without an accuracy last."""
    from scipy.stats import rankdata

    known = [row for row in rows if row.accuracy.mean is not None]
    ranks = rankdata([-(row.accuracy.mean or 0.0) for row in known]) if known else []
    placed = [replace(row, rank=float(rank)) for row, rank in zip(known, ranks, strict=True)]
    unknown = [row for row in rows if row.accuracy.mean is None]
    return sorted(placed, key=lambda row: (row.rank or 0.0, row.method)) + unknown


def _best(rows: Sequence[Row]) -> Row:
    """Return the most accurate of the rows with the most seeds: against one seed nothing can be tested."""
    most = max(len(row.outcomes()) for row in rows)
    return next(row for row in rows if len(row.outcomes()) == most)


def _tested(rows: Sequence[Row], compared_with: Row) -> tuple[Row, ...]:
    """Return the rows, each tested against one of them over the seeds and class orders that both have."""
    others = [row for row in rows if row is not compared_with]
    verdicts = iter(against([_differences(row, compared_with) for row in others]))
    return tuple(row if row is compared_with else replace(row, versus=next(verdicts)) for row in rows)


def _differences(row: Row, other: Row) -> list[float]:
    mine, theirs = _accuracies(row), _accuracies(other)
    return [mine[key] - theirs[key] for key in mine if key in theirs]


def _accuracies(row: Row) -> dict[tuple[object, ...], float]:
    means = {key: Figure.of(r.average_accuracy for r in records).mean for key, records in row.outcomes().items()}
    return {key: mean for key, mean in means.items() if mean is not None}


def _mean_ranks(settings: Sequence[Setting]) -> tuple[tuple[str, float], ...]:
    if len(settings) < 2:  # noqa: PLR2004 one table has its ranks already
        return ()
    ranks = [{row.method: row.rank for row in setting.rows} for setting in settings]
    everywhere = [name for name in ranks[0] if all(each.get(name) is not None for each in ranks)]
    if len(everywhere) < 2:  # noqa: PLR2004 one method ranks with nothing
        return ()
    among = [sorted(everywhere, key=lambda name, each=each: each[name] or 0.0) for each in ranks]
    means = {name: sum(order.index(name) + 1 for order in among) / len(among) for name in everywhere}
    return tuple(sorted(means.items(), key=lambda pair: (pair[1], pair[0])))


def _differ_by_fingerprint_alone(shared: Sequence[Leaves]) -> bool:
    without = [{key: value for key, value in one.items() if key != FINGERPRINT} for one in shared]
    return any(alike(one, other) for i, one in enumerate(without) for other in without[:i])


def _check_reference(reference: str | None, settings: Sequence[Setting]) -> None:
    known = {name for setting in settings for row in setting.rows for name in (row.method, row.records[0].method)}
    if reference is not None and reference not in known:
        where = "lorastream report --against"
        raise CheckpointError.of([unknown_name(where, kind="method among the runs", got=reference, choices=known)])


def _names(settings: Sequence[Leaves]) -> list[str]:
    """Return a name for each table: its recipe, and what distinguishes it from others of that recipe."""
    return _distinguished([str(one["recipe"]) for one in settings], settings)


def _labels(lines: Sequence[Leaves]) -> list[str]:
    """Return a name for each line: its method, and what distinguishes it from others of that method."""
    return _distinguished([str(one["method.name"]) for one in lines], lines)


def _distinguished(names: Sequence[str], settings: Sequence[Leaves]) -> list[str]:
    told = list(names)
    for name in set(names):
        places = [i for i, each in enumerate(names) if each == name]
        if len(places) > 1:
            for place, distinction in zip(places, distinctions([settings[i] for i in places]), strict=True):
                told[place] = f"{name} ({distinction or 'as the recipe says'})"
    clean = [" ".join(name.split()) for name in told]
    return [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 4]} ..." for name in clean]
