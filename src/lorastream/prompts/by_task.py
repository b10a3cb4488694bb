"""Prefixes of each task, chosen by the task's key, and prefixes that all tasks share (DualPrompt)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from lorastream.prompts.prefixes import TaskPrefixes
from lorastream.prompts.prompts import Chosen, uniform
from lorastream.prompts.selection import cosines


class TaskPrompts(TaskPrefixes):
    """Prefixes and a key for every task, in some blocks, and shared prefixes in others.

    Args:
        shared: `[blocks, 2, length, width]`; no block: nothing is shared.
        shared_blocks: which blocks those are.
        task_blocks: which blocks take the prefixes of a task; none of the former.

    Attributes:
        keys: per task `[width]`.
        settled: how many tasks answers are chosen from; the task under way is not among them yet.
    """

    kind = "by_task"

    def __init__(self, shared: Tensor, *, shared_blocks: Sequence[int], task_blocks: Sequence[int]) -> None:
        super().__init__(task_blocks)
        self.shared = nn.Parameter(shared)
        self.shared_blocks = tuple(shared_blocks)
        self.keys = nn.ParameterList()
        self.settled = 0

    @classmethod
    def drawn(
        cls,
        length: int,
        *,
        shared_blocks: Sequence[int],
        task_blocks: Sequence[int],
        half_width: float,
        generator: torch.Generator,
        like: Tensor,
    ) -> Self:
        """Return prefixes of no task yet; the shared ones are drawn from U(-half_width, half_width)."""
        shape = (len(shared_blocks), 2, length, like.shape[-1])
        shared = uniform(*shape, half_width=half_width, generator=generator, like=like)
        return cls(shared, shared_blocks=shared_blocks, task_blocks=task_blocks)

    def grow(self, length: int, *, half_width: float, go_on: bool, generator: torch.Generator) -> None:
        """Add prefixes and a key for a new task; they alone and what is shared learn.

        Args:
            length: of the prefixes.
            half_width: they are drawn from U(-half_width, half_width).
            go_on: begin instead with the prefixes of the task before, where there is one.
            generator: of the numbers.
        """
        self.add(length, half_width=half_width, go_on=go_on, generator=generator, like=self.shared)
        key = uniform(self.shared.shape[-1], half_width=half_width, generator=generator, like=self.shared)
        self.keys.append(nn.Parameter(key))
        self.shared.requires_grad_()

    def forward(self, queries: Tensor) -> Chosen:
        """Return for each image what is shared, and the prefixes of the settled task whose key is nearest."""
        known = max(self.settled, 1)
        closeness, nearest = cosines(queries, torch.stack(list(self.keys)[:known])).max(dim=1)
        return self._with_shared(self.of(nearest), closeness)

    def of_newest(self, queries: Tensor) -> Chosen:
        """Return what is shared and the prefixes of the newest task, and how near its key is to each query."""
        closeness = cosines(queries, self.keys[-1][None])[:, 0]
        return self._with_shared(self.newest(queries.shape[0]), closeness)

    def settle(self) -> None:
        """End a task; see `Prompts`."""
        super().settle()
        self.settled = len(self.prompts)

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Take what `tensors` gave; see `Prompts`."""
        blocks = {name: tensors[name].tolist() for name in ("shared_blocks", "task_blocks")}
        made = cls(tensors["shared"].clone(), **blocks)
        made.prompts = nn.ParameterList([nn.Parameter(own.clone()) for own in tensors["prompts"]])
        made.keys = nn.ParameterList([nn.Parameter(own.clone()) for own in tensors["keys"]])
        made.settle()
        return made

    def _with_shared(self, own: Mapping[int, Tensor], closeness: Tensor) -> Chosen:
        """Return the prefixes of tasks by block, with those that are shared."""
        shared = self.shared.expand(closeness.shape[0], -1, -1, -1, -1).unbind(dim=1)
        return Chosen(prefixes={**dict(zip(self.shared_blocks, shared, strict=True)), **own}, closeness=closeness)

    def _tensors(self) -> dict[str, Tensor]:
        learnt = {"prompts": torch.stack(list(self.prompts)), "keys": torch.stack(list(self.keys))}
        blocks = {"shared_blocks": torch.tensor(self.shared_blocks), "task_blocks": torch.tensor(self.task_blocks)}
        return {"shared": self.shared, **learnt, **{name: found.long() for name, found in blocks.items()}}
