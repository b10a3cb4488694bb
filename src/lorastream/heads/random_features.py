"""Closed-form heads on random features: the features are made many, and a linear classifier is computed on them.

Source: RanPAC (McDonnell et al., NeurIPS 2023, section 4.1; released code RanPAC/RanPAC). Formula, with f the feature
of an image, P `[d, M]` of standard normal numbers that never change, and y its class as a row of zeros and a one:

    h = ReLU(f P),    C = sum h y' over the images of all tasks,    logits h W

What W is made of beside C is said by the heads: `heads.ridge`, `heads.truncated`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.heads.computed import ComputedHead
from lorastream.heads.cosine import CosineHead
from lorastream.heads.features import finite
from lorastream.heads.places import without
from lorastream.heads.trained import TrainedHead


class RandomFeatureHead(ComputedHead):
    """Logits on random features of features; nothing of it learns by gradients.

    Args:
        width: d, the number of features.

    Attributes:
        projection: P `[d, M]`; M is 0 until `project`.
        cross: C' `[classes seen, M]`, float32.
        weight: W' `[classes seen, M]`, float32; zeros for classes that were not taken in yet.
        warm: a head that learns in place of the regression, while a first task is learnt by gradients.
    """

    projection: Tensor
    cross: Tensor
    weight: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.warm: TrainedHead | None = None
        for name, shape in {"projection": (width, 0), "cross": (0, 0), "weight": (0, 0)}.items():
            self.register_buffer(name, torch.empty(shape))

    def project(self, n_features: int, *, generator: torch.Generator) -> None:
        """Draw the random features, once.

        Args:
            n_features: M, at least 1.
            generator: a CPU generator; the same numbers on every device.
        """
        drawn = torch.randn(self.width, n_features, generator=generator)
        self.projection = drawn.to(self.weight)
        self.cross = self.projection.new_zeros(self.n_classes, n_features)
        self.weight = self.cross.clone()
        self._begin_sums()

    def grow(self, n_classes: int, *, generator: torch.Generator, device: torch.device) -> None:
        """Append room for new classes; `generator` is not used."""
        del generator
        self.sizes.append(n_classes)
        self.to(device)
        room = self.projection.new_zeros(n_classes, self.projection.shape[1])
        self.cross, self.weight = torch.cat([self.cross, room]), torch.cat([self.weight, room])

    def begin(self, *, generator: torch.Generator) -> None:
        """Let a cosine head learn the newest classes in place of the regression, until `take_in`."""
        self.warm = CosineHead(self.width).to(self.projection.device)
        self.warm.grow(self.sizes[-1], generator=generator, device=self.projection.device)

    def restart(self, *, generator: torch.Generator) -> None:
        """Forget all sums; `generator` is not used."""
        del generator
        self.cross.zero_()
        self.weight.zero_()
        self._begin_sums()

    def take_in(self, first_class: int, features: Sequence[Tensor]) -> None:
        """Add the features `[n, d]` of each class from `first_class` on to what is known of the images, and solve.

        Raises:
            DataError: a feature is not finite.
        """
        self.warm = None
        rows = [self._random(finite(first_class + i, own).to(self.projection)) for i, own in enumerate(features)]
        self.weight = self._solved(rows, first_class).float().contiguous()

    def forget(self, label: int) -> None:
        """Drop a class; a task that has no class left keeps its place.

        That an image shows none of the other classes stays known of its images.
        """
        self.sizes[self._place(label)[0]] -= 1
        self.cross, self.weight = without(self.cross, label), without(self.weight, label)

    def forward(self, features: Tensor, *, since: int = 0, learning: bool = False) -> Tensor:
        """Return logits `[n, classes seen]` of `features [n, d]`; see `GrowingHead.forward`."""
        del learning
        if self.warm is not None:
            return self.warm(features, since=0)
        with torch.autocast(features.device.type, enabled=False):
            rows = self._random(features.to(self.weight))
            return torch.cat([F.linear(rows, own) for own in self._rows(self.weight, since)], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """Return `projection`, `cross` and `ridge_weight`, for saving."""
        named = {"projection": self.projection, "cross": self.cross, "ridge_weight": self.weight}
        return {name: tensor.clone() for name, tensor in named.items()}

    def load_tensors(self, tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        self.sizes, self.warm = list(sizes), None
        self.projection, self.cross = tensors["projection"].clone(), tensors["cross"].clone()
        self.weight = tensors["ridge_weight"].clone()

    def _begin_sums(self) -> None:
        """Know nothing of any image, with `projection` as wide as it is."""
        raise NotImplementedError

    def _solved(self, rows: Sequence[Tensor], first_class: int) -> Tensor:
        """Take in random features `[n, M]` of each class from `first_class` on; return W' `[classes seen, M]`."""
        raise NotImplementedError

    def _random(self, features: Tensor) -> Tensor:
        return F.relu(features @ self.projection)

    def _cross_of(self, rows: Sequence[Tensor], first_class: int) -> Tensor:
        """Return what random features `[n, M]` of each class from `first_class` on add to C', in float64."""
        cross = self.cross.new_zeros(self.cross.shape, dtype=torch.float64)
        cross[first_class : first_class + len(rows)] = torch.stack([own.double().sum(dim=0) for own in rows])
        return cross
