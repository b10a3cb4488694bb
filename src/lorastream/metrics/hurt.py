"""Which classes lost accuracy since they were learnt, and which step took most of it. Loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a class lost.

    Attributes:
        name: of the class.
        learnt_in: the step that it was learnt in.
        then: its accuracy in [0, 1] when it was learnt.
        now: its accuracy in [0, 1] now, lower than then.
        worst_step: the step at which it fell most; None where steps between were not measured.
    """

    name: str
    learnt_in: int
    then: float
    now: float
    worst_step: int | None


def losses(accuracies: Mapping[str, Sequence[tuple[int, float]]], *, blame: bool) -> list[Loss]:
    """Return the classes that lost accuracy, the largest loss first.

    Args:
        accuracies: of each class its accuracy in [0, 1] after steps, by their numbers, from the one it was learnt in to
            the last.
        blame: every step between was measured on the same pictures, so that one can be named.
    """
    found: list[Loss] = []
    for name, series in accuracies.items():
        (learnt_in, then), (_, now) = series[0], series[-1]
        if now < then:
            falls = [(before[1] - after[1], after[0]) for before, after in pairwise(series)]
            worst = max(falls, key=lambda entry: entry[0])[1] if blame else None
            found.append(Loss(name=name, learnt_in=learnt_in, then=then, now=now, worst_step=worst))
    return sorted(found, key=lambda loss: loss.now - loss.then)
