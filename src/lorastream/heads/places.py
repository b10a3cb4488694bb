"""Where a class lies among the tasks, and what is left without it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def place(label: int, sizes: Iterable[int]) -> tuple[int, int]:
    """Return the task of a class, and its position there.

    Args:
        label: of the class, from 0.
        sizes: the number of classes of every task, in order of arrival; some may be 0.

    Raises:
        IndexError: there are not so many classes.
    """
    row = label
    for task, size in enumerate(sizes):
        if row < size:
            return task, row
        row -= size
    raise IndexError(label)


def without(rows: Tensor, index: int) -> Tensor:
    """Return the rows but one, as a new tensor: what was handed out for saving does not change."""
    return torch.cat([rows[:index], rows[index + 1 :]])
