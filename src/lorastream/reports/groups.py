"""Runs that differ by their seed alone, taken together."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lorastream.runs import RunRecord


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number over the runs of a group.

    Attributes:
        mean: over the runs that have the number; None where none has.
        deviation: standard deviation over these runs, n - 1 in the denominator; None with fewer than two.
    """

    mean: float | None
    deviation: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Figure:
        """Average the values that are there."""
        present = [value for value in values if value is not None]
        return cls(
            mean=statistics.fmean(present) if present else None,
            deviation=statistics.stdev(present) if len(present) > 1 else None,
        )


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs of one recipe and method that differ by their seed alone.

    Attributes:
        recipe: name of the recipe.
        method: name of the method.
        records: at least one, in the order given.
    """

    recipe: str
    method: str
    records: tuple[RunRecord, ...]

    @property
    def n_tasks(self) -> int:
        """Tasks that every run of the group has learnt."""
        return min(len(record.accuracy_matrix) for record in self.records)

    @property
    def label(self) -> str:
        """The method, and what the runs came to where they did not finish."""
        unfinished = sorted({record.status for record in self.records} - {"finished"})
        return f"{self.method} ({', '.join(unfinished)})" if unfinished else self.method

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs."""
        return [record.seed for record in self.records]

    def figure(self, number: Callable[[RunRecord], float | None]) -> Figure:
        """Average a number over the runs."""
        return Figure.of(map(number, self.records))


def group(records: Sequence[RunRecord]) -> list[Group]:
    """Put together the runs whose resolved recipes are equal but for the seed, in order of first appearance."""
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        settings = {key: value for key, value in record.recipe.items() if key != "seed"}
        groups.setdefault(json.dumps([record.status == "finished", settings], sort_keys=True), []).append(record)
    return [Group(recipe=g[0].recipe_name, method=g[0].method, records=tuple(g)) for g in groups.values()]


def training_seconds(record: RunRecord) -> float | None:
    """Return the training time of all tasks together; None where no task was timed."""
    times = [seconds for seconds in record.seconds_per_task if seconds is not None]
    return sum(times) if times else None
