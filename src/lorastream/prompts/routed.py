"""Prefixes of each task, found again by a classifier of queries: the class it takes an image for says whose (HiDe)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorastream.prompts.prefixes import TaskPrefixes
from lorastream.prompts.prompts import Chosen

DESCRIBED = "described/"


class RoutedPrompts(TaskPrefixes):
    """Prefixes for every task, and a linear classifier on queries.

    Args:
        blocks: which blocks take prefixes.
        like: `[..., width]`: what they are as wide as and of the type of.

    Attributes:
        weight: of the classifier, `[classes, width]`; its rows are the labels.
        bias: `[classes]`.
        tasks: int64 `[classes]`, which task brought each class.
        described: what the classifier was trained on, by name, on the CPU; each has one row a class.
        share: α; while a task is learnt its prefixes are (1 - α) of its own and α of the mean of those before.
    """

    kind = "routed"

    def __init__(self, blocks: Sequence[int], like: Tensor) -> None:
        super().__init__(blocks)
        for name, rows in (
            ("weight", like.new_empty(0, like.shape[-1])),
            ("bias", like.new_empty(0)),
            ("tasks", torch.empty(0, dtype=torch.int64, device=like.device)),
        ):
            self.register_buffer(name, rows, persistent=False)
        self.weight: Tensor
        self.bias: Tensor
        self.tasks: Tensor
        self.described: dict[str, Tensor] = {}
        self.share = 0.0

    def grow(self, length: int, *, share: float, half_width: float, go_on: bool, generator: torch.Generator) -> None:
        """Add prefixes for a new task, which alone learn; see `add`, and `share` among the attributes."""
        self.add(length, half_width=half_width, go_on=go_on, generator=generator, like=self.weight)
        self.share = share if len(self.prompts) > 1 else 0.0

    def forward(self, queries: Tensor) -> Chosen:
        """Return for each image the prefixes of the task of the class that the classifier takes it for."""
        if not len(self.tasks):
            return self.of_newest(queries)
        with torch.autocast(queries.device.type, enabled=False):
            exact = queries.to(torch.promote_types(queries.dtype, torch.float32))
            likeliest = F.linear(exact, self.weight.to(exact), self.bias.to(exact)).argmax(dim=1)
        return Chosen(prefixes=self.of(self.tasks[likeliest]))

    def of_newest(self, queries: Tensor) -> Chosen:
        """Return the prefixes of the newest task, whatever the queries."""
        return Chosen(prefixes=self.newest(queries.shape[0]))

    def newest(self, n: int) -> dict[int, Tensor]:
        """Return by block the prefixes of the newest task for n images, mixed with those before; see `share`."""
        return self._by_block(self._mixed().expand(n, -1, -1, -1, -1))

    def settle(self) -> None:
        """End a task: its prefixes are what it answered with; see `Prompts`."""
        with torch.no_grad():
            self.prompts[-1].copy_(self._mixed())
        self.share = 0.0
        super().settle()

    def route_by(self, weight: Tensor, bias: Tensor, described: Mapping[str, Tensor]) -> None:
        """Let another classifier choose; classes that it knows and this one did not are those of the newest task.

        Args:
            weight: `[classes, width]`, its first rows of the classes known already.
            bias: `[classes]`.
            described: what it was trained on, each with a row a class.
        """
        newest = self.tasks.new_full((len(weight) - len(self.tasks),), len(self.prompts) - 1)
        self.weight, self.bias = weight.to(self.weight), bias.to(self.bias)
        self.tasks = torch.cat([self.tasks, newest])
        self.described = {name: rows.cpu() for name, rows in described.items()}

    def forget(self, label: int) -> None:
        """Drop a class: its row of the classifier, and what describes it; the prefixes of its task stay."""
        left = torch.arange(len(self.tasks)) != label
        there = left.to(self.tasks.device)
        self.weight, self.bias, self.tasks = self.weight[there], self.bias[there], self.tasks[there]
        self.described = {name: rows[left] for name, rows in self.described.items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Take what `tensors` gave; see `Prompts`."""
        made = cls(tensors["blocks"].tolist(), tensors["weight"])
        made.prompts = nn.ParameterList([nn.Parameter(own.clone()) for own in tensors["prompts"]])
        made.weight, made.bias, made.tasks = (tensors[name].clone() for name in ("weight", "bias", "tasks"))
        made.described = {
            name.removeprefix(DESCRIBED): rows.cpu() for name, rows in tensors.items() if name.startswith(DESCRIBED)
        }
        made.settle()
        return made

    def _mixed(self) -> Tensor:
        own = self.prompts[-1]
        if not self.share:
            return own
        return (1 - self.share) * own + self.share * torch.stack(list(self.prompts)[:-1]).mean(dim=0)

    def _tensors(self) -> dict[str, Tensor]:
        router = {"weight": self.weight, "bias": self.bias, "tasks": self.tasks}
        described = {DESCRIBED + name: rows for name, rows in self.described.items()}
        facts = {"blocks": torch.tensor(self.task_blocks)}
        return {"prompts": torch.stack(list(self.prompts)), **router, **described, **facts}
