"""The nearest class mean: a classifier without gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.heads.computed import ComputedHead
from lorastream.heads.places import without


class PrototypeHead(ComputedHead):
    """Cosine similarity to the mean feature of every class (Mensink et al. 2013; SimpleCIL, Zhou et al. 2024).

    Args:
        width: d, the number of features.

    Attributes:
        prototypes: `[classes seen, d]`, the means; of classes not yet computed zeros, whose similarity is 0.
    """

    prototypes: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.register_buffer("prototypes", torch.empty(0, width))

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
        self.sizes[self._place(label)[0]] -= 1
        self.prototypes = without(self.prototypes, label)

    def forward(self, features: Tensor, *, since: int = 0, learning: bool = False) -> Tensor:
        """Return cosines in [-1, 1], `[n, classes seen]`, of `features [n, d]`; see `GrowingHead.forward`."""
        del learning
        unit = F.normalize(features, dim=-1)
        means = F.normalize(self.prototypes.to(features.dtype), dim=-1)
        return torch.cat([unit @ own.mT for own in self._rows(means, since)], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """Return what the head has learnt, by name, for saving."""
        return {"prototypes": self.prototypes.clone()}

    def load_tensors(self, tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        self.sizes = list(sizes)
        self.prototypes = tensors["prototypes"].clone()
