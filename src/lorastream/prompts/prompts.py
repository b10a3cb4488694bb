"""What all prompts have in common: for the queries of images they say which prompts enter the backbone with each.

The query of an image is its feature of the frozen backbone without prompts. It depends on nothing that learns, so the
queries of a task's images are computed once (`remembered`). The choice for an image depends on its own query alone,
never on its batch; the released codes of L2P and DualPrompt let a batch vote for the prompts of all its images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """What enters the backbone with n images.

    Attributes:
        tokens: `[n, prompts, width]`; None: none.
        prefixes: by block, counted from 0 at the input, `[n, 2, length, width]`: keys and values.
        read: what the features are: the network's own, or the mean of what became of the tokens.
        closeness: `[n]`, how near the chosen keys are to the query, a sum of cosines; empty where no key learns.
    """

    tokens: Tensor | None = None
    prefixes: Mapping[int, Tensor] = field(default_factory=dict[int, Tensor])
    read: Literal["class_token", "prompts"] = "class_token"
    closeness: Tensor = field(default_factory=lambda: torch.empty(0))


class Prompts(nn.Module):
    """Prompts, and what they are chosen by.

    Attributes:
        kind: what tensors of it are saved under.
        remembered: `[images, width]`, the queries of the images of the task under way; None: they are not kept.
    """

    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.remembered: Tensor | None = None

    def forward(self, queries: Tensor) -> Chosen:
        """Return what enters with images, whose queries are `[n, width]`, to answer."""
        raise NotImplementedError

    def of_newest(self, queries: Tensor) -> Chosen:
        """Return what enters with images of the newest task, by their queries `[n, width]`; by default, to answer."""
        return self(queries)

    def forget(self, label: int) -> None:
        """Drop what is kept of a class; by default nothing is, and prompts that learnt from it stay."""

    def settle(self) -> None:
        """End a task: nothing learns, no query is kept, and what was learnt takes part in answers."""
        self.requires_grad_(requires_grad=False)
        self.remembered = None

    def tensors(self) -> dict[str, Tensor]:
        """Return all that it is, as `KIND/NAME`; what a task added stands last along the first dimension."""
        return {f"{self.kind}/{name}": tensor.detach().clone() for name, tensor in self._tensors().items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Take what `tensors` gave, their names without the kind; nothing learns."""
        raise NotImplementedError

    def _tensors(self) -> dict[str, Tensor]:
        raise NotImplementedError


def uniform(*shape: int, half_width: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """Return numbers drawn from U(-half_width, half_width), the same on every device, of the type of `like`."""
    return torch.empty(shape).uniform_(-half_width, half_width, generator=generator).to(like)
