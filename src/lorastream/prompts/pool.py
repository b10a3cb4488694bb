"""A pool that all tasks share: with an image go the prompts whose keys are nearest to its query (L2P)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import torch
from torch import Tensor, nn

from lorastream.prompts.prompts import Chosen, Prompts, uniform
from lorastream.prompts.selection import cosines


class PromptPool(Prompts):
    """Prompts that enter as tokens.

    Args:
        prompts: `[size, length, width]`.
        keys: `[size, width]`.
        top_k: how many of them go with an image, at most `size`.
        read: what the features are, see `Chosen`.
    """

    kind = "pool"

    def __init__(
        self, prompts: Tensor, keys: Tensor, *, top_k: int, read: Literal["class_token", "prompts"] = "prompts"
    ) -> None:
        super().__init__()
        self.prompts, self.keys = nn.Parameter(prompts), nn.Parameter(keys)
        self.top_k = top_k
        self.read: Literal["class_token", "prompts"] = read

    @classmethod
    def drawn(
        cls,
        size: int,
        length: int,
        *,
        top_k: int,
        half_width: float,
        generator: torch.Generator,
        like: Tensor,
        read: Literal["class_token", "prompts"] = "prompts",
    ) -> Self:
        """Return a pool of numbers from U(-half_width, half_width), as wide and of the type of `like [..., width]`."""
        width = like.shape[-1]
        prompts = uniform(size, length, width, half_width=half_width, generator=generator, like=like)
        keys = uniform(size, width, half_width=half_width, generator=generator, like=like)
        return cls(prompts, keys, top_k=top_k, read=read)

    def forward(self, queries: Tensor) -> Chosen:
        """Return the prompts of the nearest keys of each image; the keys' cosines are added up."""
        nearest = cosines(queries, self.keys).topk(self.top_k, dim=1)
        tokens = self.prompts[nearest.indices].flatten(start_dim=1, end_dim=2)
        return Chosen(tokens=tokens, read=self.read, closeness=nearest.values.sum(dim=1))

    def learn(self) -> None:
        """Let prompts and keys learn."""
        self.requires_grad_(requires_grad=True)

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Take what `tensors` gave; see `Prompts`."""
        read = "prompts" if tensors["reads_prompts"] else "class_token"
        made = cls(tensors["prompts"].clone(), tensors["keys"].clone(), top_k=int(tensors["top_k"]), read=read)
        made.settle()
        return made

    def _tensors(self) -> dict[str, Tensor]:
        facts = {"top_k": torch.tensor(self.top_k), "reads_prompts": torch.tensor(self.read == "prompts")}
        return {"prompts": self.prompts, "keys": self.keys, **facts}
