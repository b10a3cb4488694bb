"""The nearest class mean: a classifier without gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorastream.heads.places import place


class PrototypeHead(nn.Module):
    """Cosine similarity to the mean feature of every class (Mensink et al. 2013; SimpleCIL, Zhou et al. 2024).

    Args:
        width: d, the number of features.

    Attributes:
        sizes: how many classes each task brought.
        prototypes: `[classes seen, d]`, the means; of classes not yet computed zeros, whose similarity is 0.
    """

    prototypes: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.sizes: list[int] = []
        self.register_buffer("prototypes", torch.empty(0, width))

    @property
    def n_classes(self) -> int:
        """The number of classes seen so far."""
        return len(self.prototypes)

    @property
    def margin(self) -> float:
        """What a loss takes off the logit of an image's own class: nothing."""
        return 0.0

    def empty(self) -> Self:
        """Return a head of the same kind without a class."""
        return type(self)(self.width)

    def grow(self, n_classes: int, *, generator: torch.Generator, device: torch.device) -> None:
        """Append room for new classes; `generator` is not used."""
        del generator
        self.sizes.append(n_classes)
        self.prototypes = torch.cat([self.prototypes.to(device), torch.zeros(n_classes, self.width, device=device)])

    def set_prototypes(self, first_class: int, means: Tensor) -> None:
        """Store the mean features `[k, d]` of the classes `first_class` to `first_class + k - 1`."""
        self.prototypes[first_class : first_class + len(means)] = means

    def restart(self, *, generator: torch.Generator) -> None:
        """Forget all means; `generator` is not used."""
        del generator
        self.prototypes = torch.zeros_like(self.prototypes)

    def forget(self, label: int) -> None:
        """Drop the mean of a class; a task that has no class left keeps its place."""
        self.sizes[place(label, self.sizes)[0]] -= 1
        self.prototypes = torch.cat([self.prototypes[:label], self.prototypes[label + 1 :]])

    def learn(self, *, newest_only: bool) -> None:
        """Do nothing: no gradient reaches a mean."""

    def forward(self, features: Tensor, *, since: int = 0, learning: bool = False) -> Tensor:
        """Return cosine similarities in [-1, 1], `[n, classes seen]`, of `features [n, d]`.

        With `since`, of the tasks from that class on.

        One product for each task: a product with more rows may round its first ones otherwise.
        """
        del learning
        unit = F.normalize(features, dim=-1)
        means = F.normalize(self.prototypes.to(features.dtype), dim=-1).split(self.sizes)
        return torch.cat([unit @ own.mT for own in means[place(since, self.sizes)[0] :]], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """Return what the head has learnt, by name, for saving."""
        return {"prototypes": self.prototypes.clone()}

    def load_tensors(self, tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        self.sizes = list(sizes)
        self.prototypes = tensors["prototypes"].clone()
