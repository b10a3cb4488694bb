"""Which classes arrive in which task, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lorastream.errors import DataError, unknown_name
from lorastream.randomness import class_order


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How classes are dealt out to tasks; exactly one of `tasks`, `sizes` and `classes`.

    Attributes:
        tasks: number of tasks of equal size; the number of classes must be a multiple of it.
        sizes: number of classes of each task; classes left over are not used.
        classes: names of the classes of each task, in order of arrival; `order` has no say then.
        order: `seed` for the permutation of the published code (spec section 1.4), `natural` for the source's order.
    """

    tasks: int | None = None
    sizes: tuple[int, ...] | None = None
    classes: tuple[tuple[str, ...], ...] | None = None
    order: Literal["seed", "natural"] = "seed"


def deal_classes(class_names: Sequence[str], config: StreamConfig, *, seed: int) -> list[list[int]]:
    """Return, for each task, the positions of its classes in `class_names`, in order of arrival.

    Raises:
        DataError: the configuration does not fit the classes; the message names the counts.
    """
    stated = [key for key in ("tasks", "sizes", "classes") if getattr(config, key) is not None]
    if len(stated) != 1:
        raise DataError(
            "stream",
            expected="exactly one of tasks, sizes, classes",
            got=" and ".join(stated) or "none of them",
            next_step="keep one of them" if stated else f"set stream.tasks, such as {_divisor(len(class_names))}",
        )
    if config.classes is not None:
        return _by_name(class_names, config.classes)
    sizes = _equal_sizes(len(class_names), config.tasks) if config.tasks is not None else config.sizes or ()
    _check_sizes(sizes, len(class_names))
    order = class_order(seed, len(class_names)) if config.order == "seed" else list(range(len(class_names)))
    ends = np.cumsum(sizes).tolist()
    return [order[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _equal_sizes(n_classes: int, n_tasks: int) -> tuple[int, ...]:
    if n_tasks < 1:
        raise DataError(
            "stream.tasks", expected="at least 1", got=str(n_tasks), next_step="set it to the number of tasks"
        )
    if n_tasks > n_classes:
        raise DataError(
            "stream.tasks",
            expected=f"at most {n_classes}, as there are {n_classes} classes",
            got=str(n_tasks),
            next_step=f"set stream.tasks={n_classes} for tasks of one class",
        )
    each, left = divmod(n_classes, n_tasks)
    if left:
        sizes = ",".join(str(each + (task < left)) for task in range(n_tasks))
        raise DataError(
            "stream.tasks",
            expected=f"a number that divides the {n_classes} classes",
            got=f"{n_tasks}, which leaves {left} over",
            next_step=f"set stream.sizes=[{sizes}] instead of stream.tasks",
        )
    return (each,) * n_tasks


def _check_sizes(sizes: Sequence[int], n_classes: int) -> None:
    if not sizes or min(sizes) < 1:
        raise DataError(
            "stream.sizes",
            expected="at least one task, each with at least one class",
            got=str(list(sizes)),
            next_step="give the number of classes of each task",
        )
    if sum(sizes) > n_classes:
        raise DataError(
            "stream.sizes",
            expected=f"at most {n_classes} classes in all, as many as the source has",
            got=f"{sum(sizes)} ({' + '.join(map(str, sizes))})" if len(sizes) <= 12 else str(sum(sizes)),  # noqa: PLR2004
            next_step="make the tasks smaller or fewer, or use a source with more classes",
        )


def _by_name(class_names: Sequence[str], tasks: tuple[tuple[str, ...], ...]) -> list[list[int]]:
    position = {name: i for i, name in enumerate(class_names)}
    counts = Counter(name for task in tasks for name in task)
    faults = [
        unknown_name("stream.classes", kind="class of the source", got=name, choices=class_names)
        for name in counts
        if name not in position
    ]
    if faults:
        raise DataError.of(faults)
    twice = [name for name, count in counts.items() if count > 1]
    if twice or not tasks or not all(tasks):
        raise DataError(
            "stream.classes",
            expected="at least one class in every task, and each class in one task only",
            got=f"{twice[0]!r} {counts[twice[0]]} times" if twice else "a task without classes",
            next_step="give each class to one task",
        )
    return [[position[name] for name in task] for task in tasks]


def _divisor(n_classes: int) -> int:
    return next((n for n in (5, 10, 2, 3) if n_classes % n == 0), n_classes)
