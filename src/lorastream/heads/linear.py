"""A linear classifier that grows; the rows of old classes stay bit-identical."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorastream.heads.places import place


class LinearHead(nn.Module):
    """Logits `f W' + b` over all classes seen so far.

    The rows of one task are one parameter each, so that a task's optimiser cannot touch another's rows.

    New rows are drawn as in the released SD-LoRA code (LAMDA-PILOT's `SimpleLinear`): weight ~ U(-√3/√d, √3/√d)
    (Kaiming uniform with a linear gain), bias 0.

    Args:
        width: d, the number of features.

    Attributes:
        weights: per task `[classes of the task, d]`.
        biases: per task `[classes of the task]`.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()

    @property
    def n_classes(self) -> int:
        """The number of classes seen so far."""
        return sum(len(bias) for bias in self.biases)

    def grow(self, n_classes: int, *, generator: torch.Generator, device: torch.device) -> None:
        """Append rows for new classes.

        Args:
            n_classes: at least 1.
            generator: a CPU generator; the same numbers on every device.
            device: where the rows go.
        """
        weight = self._draw(n_classes, generator)
        self.weights.append(nn.Parameter(weight.to(device)))
        self.biases.append(nn.Parameter(torch.zeros(n_classes, device=device)))

    def restart(self, *, generator: torch.Generator) -> None:
        """Draw all rows anew."""
        with torch.no_grad():
            for weight, bias in zip(self.weights, self.biases, strict=True):
                weight.copy_(self._draw(len(weight), generator))
                bias.zero_()

    def copy_row(self, source: int, target: int) -> None:
        """Make the row of class `target` equal to that of class `source`."""
        with torch.no_grad():
            for rows in (self.weights, self.biases):
                from_task, from_row = self._place(source)
                to_task, to_row = self._place(target)
                rows[to_task][to_row] = rows[from_task][from_row]

    def forget(self, label: int) -> None:
        """Drop the row of a class; a task that has no class left keeps its place, with no rows."""
        task, row = self._place(label)
        for rows in (self.weights, self.biases):
            old = rows[task]
            kept = torch.cat([old[:row], old[row + 1 :]]).detach().clone()
            rows[task] = nn.Parameter(kept, requires_grad=old.requires_grad)

    def learn(self, *, newest_only: bool) -> None:
        """Let the rows of the newest task learn, or all rows."""
        for task, parameters in enumerate(zip(self.weights, self.biases, strict=True)):
            for parameter in parameters:
                parameter.requires_grad_(requires_grad=not newest_only or task == len(self.weights) - 1)

    def forward(self, features: Tensor, *, since: int = 0) -> Tensor:
        """Return logits `[n, classes seen]` of `features [n, d]`; those of old rows do not change by a bit as it grows.

        One product for each task: a product with more rows may round its first ones otherwise. With `since`, of the
        tasks from that class on: what a step costs then does not grow with the tasks.
        """
        first = self._place(since)[0] if since else 0
        rows = zip(self.weights[first:], self.biases[first:], strict=True)
        return torch.cat([F.linear(features, weight, bias) for weight, bias in rows], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """Return what the head has learnt, by name, for saving; nothing before the first task."""
        if not self.n_classes:
            return {}
        weight = torch.cat([w.detach() for w in self.weights])
        bias = torch.cat([b.detach() for b in self.biases])
        return {"weight": weight.clone(), "bias": bias.clone()}

    def load_tensors(self, tensors: dict[str, Tensor], sizes: list[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        self.weights = nn.ParameterList([nn.Parameter(w.clone()) for w in tensors["weight"].split(sizes)])
        self.biases = nn.ParameterList([nn.Parameter(b.clone()) for b in tensors["bias"].split(sizes)])

    def _place(self, label: int) -> tuple[int, int]:
        """Return the task of a class, and its row there."""
        return place(label, map(len, self.biases))

    def _draw(self, n_classes: int, generator: torch.Generator) -> Tensor:
        bound = math.sqrt(3.0 / self.width)
        return torch.empty(n_classes, self.width).uniform_(-bound, bound, generator=generator)
