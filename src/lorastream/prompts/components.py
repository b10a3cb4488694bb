"""Components of which every image's prefix is a weighted sum; a task adds some, and the past ones stay (CODA-Prompt).

The past components do not learn and neither does a query, so their part of the sum is computed without gradients: what
a step keeps for its backward pass does not grow with the tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from lorastream.prompts.prompts import Chosen, Prompts
from lorastream.prompts.selection import attended_weights, new_directions


class PromptComponents(Prompts):
    """Components for every task; the prefix of an image is the sum of cos(q * a_m, k_m) P_m over all of them.

    Args:
        blocks: which blocks take prefixes.
        like: `[..., width]`: what new components are as wide as and of the type of.

    Attributes:
        prompts: P, per task `[components, blocks, 2, length, width]`.
        keys: k, per task `[components, blocks, width]`.
        attentions: a, per task `[components, blocks, width]`.
    """

    kind = "components"

    def __init__(self, blocks: Sequence[int], like: Tensor) -> None:
        super().__init__()
        self.register_buffer("like", like.new_empty(0, like.shape[-1]), persistent=False)
        self.like: Tensor
        self.blocks = tuple(blocks)
        self.prompts, self.keys, self.attentions = (nn.ParameterList() for _ in range(3))

    def grow(self, n: int, length: int, *, generator: torch.Generator) -> None:
        """Add components for a new task, which alone learn; they begin at right angles to the past ones.

        Args:
            n: how many.
            length: of a prefix.
            generator: of the numbers.
        """
        self.requires_grad_(requires_grad=False)
        for rows, shape in self._tables(length, self.like.shape[-1]):
            new = self.like.new_empty(n, len(self.blocks), *shape)
            for place in range(len(self.blocks)):
                past = [own[:, place].flatten(start_dim=1) for own in rows]
                known = torch.cat([new[:0, place].flatten(start_dim=1), *past])
                new[:, place] = new_directions(known, n, generator=generator).view(n, *shape)
            rows.append(nn.Parameter(new))

    def forward(self, queries: Tensor) -> Chosen:
        """Return the weighted sums of all components for each image."""
        found = self._summed(queries, slice(len(self.prompts) - 1, None))
        if len(self.prompts) > 1:
            with torch.no_grad():
                past = self._summed(queries, slice(0, len(self.prompts) - 1))
            found = found + past
        return Chosen(prefixes=dict(zip(self.blocks, found.unbind(), strict=True)))

    def overlap(self) -> Tensor:
        """Return how far components are from being orthonormal: the mean squared entry of T T' - I.

        T are the rows of prompts, keys and attentions of a block; the means are added up.
        """
        found: list[Tensor] = []
        for rows in (self.prompts, self.keys, self.attentions):
            table = torch.cat([own.flatten(start_dim=2) for own in rows]).transpose(0, 1)
            products = table @ table.mT
            found.append((products - torch.eye(products.shape[-1]).to(products)).square().mean(dim=(1, 2)).sum())
        return torch.stack(found).sum()

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Take what `tensors` gave; see `Prompts`."""
        made = cls(tensors["blocks"].tolist(), tensors["keys"])
        sizes = tensors["sizes"].tolist()
        for name in ("prompts", "keys", "attentions"):
            parts = tensors[name].split(sizes)
            setattr(made, name, nn.ParameterList([nn.Parameter(own.clone()) for own in parts]))
        made.settle()
        return made

    def _summed(self, queries: Tensor, tasks: slice) -> Tensor:
        """Return `[blocks, n, 2, length, width]`, the weighted sums of the components of some tasks."""
        prompts, keys, attentions = (
            torch.cat(list(rows)[tasks]).transpose(0, 1) for rows in (self.prompts, self.keys, self.attentions)
        )
        weights = attended_weights(queries, attentions, keys)
        with torch.autocast(queries.device.type, enabled=False):
            return (weights @ prompts.to(weights).flatten(start_dim=2)).unflatten(-1, prompts.shape[2:])

    def _tables(self, length: int, width: int) -> list[tuple[nn.ParameterList, tuple[int, ...]]]:
        """Return what there is of every component, with its shape in one block."""
        return [(self.prompts, (2, length, width)), (self.keys, (width,)), (self.attentions, (width,))]

    def _tensors(self) -> dict[str, Tensor]:
        named = {"prompts": self.prompts, "keys": self.keys, "attentions": self.attentions}
        facts = {"blocks": torch.tensor(self.blocks), "sizes": torch.tensor([len(own) for own in self.keys])}
        return {**{name: torch.cat(list(rows)) for name, rows in named.items()}, **facts}
