"""Prefixes of each task, in the same blocks; every image takes those of one task, and kinds say whose."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lorastream.prompts.prompts import Prompts, uniform


class TaskPrefixes(Prompts):
    """Prefixes for every task.

    Args:
        task_blocks: which blocks take them.

    Attributes:
        prompts: per task `[blocks, 2, length, width]`.
    """

    def __init__(self, task_blocks: Sequence[int]) -> None:
        super().__init__()
        self.task_blocks = tuple(task_blocks)
        self.prompts = nn.ParameterList()

    def add(self, length: int, *, half_width: float, go_on: bool, generator: torch.Generator, like: Tensor) -> None:
        """Add prefixes for a new task; they alone learn.

        Args:
            length: of the prefixes.
            half_width: they are drawn from U(-half_width, half_width).
            go_on: begin instead with the prefixes of the task before, where there is one.
            generator: of the numbers.
            like: `[..., width]`: what they are as wide as and of the type of.
        """
        shape = (len(self.task_blocks), 2, length, like.shape[-1])
        new = uniform(*shape, half_width=half_width, generator=generator, like=like)
        self.requires_grad_(requires_grad=False)
        self.prompts.append(nn.Parameter(self.prompts[-1].detach().clone() if go_on and len(self.prompts) else new))

    def of(self, tasks: Tensor) -> dict[int, Tensor]:
        """Return by block the prefixes `[n, 2, length, width]` of the tasks `[n]` of n images."""
        return self._by_block(torch.stack(list(self.prompts))[tasks])

    def newest(self, n: int) -> dict[int, Tensor]:
        """Return by block the prefixes `[n, 2, length, width]` of the newest task, for n images."""
        return self._by_block(self.prompts[-1].expand(n, -1, -1, -1, -1))

    def _by_block(self, prefixes: Tensor) -> dict[int, Tensor]:
        return dict(zip(self.task_blocks, prefixes.unbind(dim=1), strict=True))
