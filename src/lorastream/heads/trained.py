"""What heads have in common whose rows are trained: one row a class, and the rows of old classes stay bit-identical."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lorastream.heads.growing import GrowingHead
from lorastream.heads.places import without


class TrainedHead(GrowingHead):
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
        super().__init__(width)
        self.weights = nn.ParameterList()

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

    def set_newest(self, rows: Tensor) -> None:
        """Let the rows of the newest task be `rows [its classes, d]`, where d is the head's width from now on."""
        self.weights[-1] = nn.Parameter(rows.to(self.weights[-1]), requires_grad=False)
        self.width = rows.shape[1]

    def forget(self, label: int) -> None:
        """Drop the row of a class; a task that has no class left keeps its place, with no rows."""
        task, row = self._place(label)
        for rows in self._tables():
            old = rows[task]
            rows[task] = nn.Parameter(without(old.detach(), row), requires_grad=old.requires_grad)

    def learn(self, *, newest_only: bool) -> None:
        """Let the rows of the newest task learn, or all rows."""
        for rows in self._tables():
            for task, parameter in enumerate(rows):
                parameter.requires_grad_(requires_grad=not newest_only or task == len(rows) - 1)

    def since(self, label: int) -> list[Tensor]:
        """Return the rows `[classes of the task, d]` of every task from the one of class `label` on."""
        return list(self.weights)[self._task(label) :]

    def tensors(self) -> dict[str, Tensor]:
        """Return what the head has learnt, by name, for saving; nothing before the first task."""
        if not self.n_classes:
            return {}
        return {"weight": torch.cat([weight.detach() for weight in self.weights]).clone()}

    def load_tensors(self, tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        self.weights = split_rows(tensors["weight"], sizes)
        self.width = tensors["weight"].shape[1]

    def _tables(self) -> tuple[nn.ParameterList, ...]:
        """Return what there is for each class: lists of one parameter a task, with a row a class."""
        return (self.weights,)

    def _sizes(self) -> Iterable[int]:
        return map(len, self.weights)

    def _draw(self, n_classes: int, generator: torch.Generator) -> Tensor:
        bound = math.sqrt(3.0 / self.width)
        return torch.empty(n_classes, self.width).uniform_(-bound, bound, generator=generator)


def split_rows(rows: Tensor, sizes: Sequence[int]) -> nn.ParameterList:
    """Return the rows of each task as a parameter of their own."""
    return nn.ParameterList([nn.Parameter(own.clone()) for own in rows.split(list(sizes))])
