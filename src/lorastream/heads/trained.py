"""What heads have in common whose rows are trained: one row a class, and the rows of old classes stay bit-identical."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from lorastream.heads.places import place


class TrainedHead(nn.Module):
    """Logits over all classes seen so far, of rows that learn.

    The rows of one task are one parameter each, so that a task's optimiser cannot touch another's rows.

    New rows are drawn as in the released SD-LoRA code (LAMDA-PILOT's `SimpleLinear`): weight ~ U(-√3/√d, √3/√d)
    (Kaiming uniform with a linear gain).

    Args:
        width: d, the number of features.

    Attributes:
        weights: per task `[classes of the task, d]`.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.weights = nn.ParameterList()

    @property
    def n_classes(self) -> int:
        """The number of classes seen so far."""
        return sum(len(weight) for weight in self.weights)

    @property
    def margin(self) -> float:
        """What a loss takes off the logit of an image's own class, at least 0."""
        return 0.0

    def empty(self) -> Self:
        """Return a head of the same kind and options without a class."""
        return type(self)(self.width)

    def grow(self, n_classes: int, *, generator: torch.Generator, device: torch.device) -> None:
        """Append rows for new classes.

        Args:
            n_classes: at least 1.
            generator: a CPU generator; the same numbers on every device.
            device: where the rows go.
        """
        self.weights.append(nn.Parameter(self._draw(n_classes, generator).to(device)))

    def restart(self, *, generator: torch.Generator) -> None:
        """Draw all rows anew."""
        with torch.no_grad():
            for weight in self.weights:
                weight.copy_(self._draw(len(weight), generator))

    def copy_row(self, source: int, target: int) -> None:
        """Make the row of class `target` equal to that of class `source`."""
        (from_task, from_row), (to_task, to_row) = self._place(source), self._place(target)
        with torch.no_grad():
            for rows in self._tables():
                rows[to_task][to_row] = rows[from_task][from_row]

    def forget(self, label: int) -> None:
        """Drop the row of a class; a task that has no class left keeps its place, with no rows."""
        task, row = self._place(label)
        for rows in self._tables():
            old = rows[task]
            kept = torch.cat([old[:row], old[row + 1 :]]).detach().clone()
            rows[task] = nn.Parameter(kept, requires_grad=old.requires_grad)

    def learn(self, *, newest_only: bool) -> None:
        """Let the rows of the newest task learn, or all rows."""
        for rows in self._tables():
            for task, parameter in enumerate(rows):
                parameter.requires_grad_(requires_grad=not newest_only or task == len(rows) - 1)

    def forward(self, features: Tensor, *, since: int = 0, learning: bool = False) -> Tensor:
        """Return logits `[n, classes seen]` of `features [n, d]`; those of old rows do not change by a bit as it grows.

        One product for each task: a product with more rows may round its first ones otherwise. With `since`, of the
        tasks from that class on: what a step costs then does not grow with the tasks. With `learning`, as the loss is
        to see them; a head that learns by other logits than it answers with says so.
        """
        raise NotImplementedError

    def since(self, label: int) -> list[Tensor]:
        """Return the rows `[classes of the task, d]` of every task from the one of class `label` on."""
        return list(self.weights)[self._place(label)[0] if label else 0 :]

    def tensors(self) -> dict[str, Tensor]:
        """Return what the head has learnt, by name, for saving; nothing before the first task."""
        if not self.n_classes:
            return {}
        return {"weight": torch.cat([weight.detach() for weight in self.weights]).clone()}

    def load_tensors(self, tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        self.weights = split_rows(tensors["weight"], sizes)

    def _tables(self) -> tuple[nn.ParameterList, ...]:
        """Return what there is for each class: lists of one parameter a task, with a row a class."""
        return (self.weights,)

    def _place(self, label: int) -> tuple[int, int]:
        """Return the task of a class, and its row there."""
        return place(label, map(len, self.weights))

    def _draw(self, n_classes: int, generator: torch.Generator) -> Tensor:
        bound = math.sqrt(3.0 / self.width)
        return torch.empty(n_classes, self.width).uniform_(-bound, bound, generator=generator)


def split_rows(rows: Tensor, sizes: Sequence[int]) -> nn.ParameterList:
    """Return the rows of each task as a parameter of their own."""
    return nn.ParameterList([nn.Parameter(own.clone()) for own in rows.split(list(sizes))])
