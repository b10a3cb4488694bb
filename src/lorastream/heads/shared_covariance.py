"""What is kept of a class instead of its images where room is short: its mean, and one covariance for all classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from lorastream.heads.features import check_follows, finite, without
from lorastream.linalg.gaussians import draw, mean_and_covariance, shrunk, square_root


class SharedCovariance:
    """Mean of every class and one covariance about them for all: 4 d + 8 bytes a class, and 4 d² once.

    The covariance is the classes' scatter over sum (n_c - 1), so every image weighs the same and a class of one image
    adds its mean alone. It is kept as it is and shrunk (`linalg.gaussians.shrunk`) when used. A class that is forgotten
    or put again takes its weight with it but leaves the covariance as it was: which part of it came from that class is
    not kept.

    Attributes:
        means: `[classes, d]`, float32.
        images: int64 `[classes]`, how many each class was described by.
        covariance: `[d, d]`, float32, not shrunk; zeros as long as no class has two images.
    """

    kind: Literal["shared"] = "shared"

    def __init__(
        self, means: Tensor | None = None, images: Tensor | None = None, covariance: Tensor | None = None
    ) -> None:
        self.means = torch.empty(0, 0) if means is None else means
        self.images = torch.empty(0, dtype=torch.int64) if images is None else images
        self.covariance = torch.empty(0, 0) if covariance is None else covariance
        self._roots: dict[float, Tensor] = {}

    @property
    def n_classes(self) -> int:
        """How many classes are described."""
        return len(self.means)

    @property
    def degrees_of_freedom(self) -> int:
        """How many images the covariance rests on, less one for every class that has any."""
        return int((self.images - 1).clamp(min=0).sum())

    def put(self, first_class: int, features: Sequence[Tensor]) -> None:
        """Describe the classes from `first_class` on by `features [n, d]` of each; what was known of them goes.

        Raises:
            DataError: classes before `first_class` are not described, or a feature is not finite.
        """
        check_follows(first_class, self.n_classes)
        estimated = [mean_and_covariance(finite(first_class + i, own)) for i, own in enumerate(features)]
        means = torch.stack([mean for mean, _ in estimated]).float()
        images = torch.tensor([len(own) for own in features])
        scatter = torch.stack([own * (n - 1) for (_, own), n in zip(estimated, images, strict=True)]).sum(dim=0)
        kept = self.images[:first_class]
        weight = int((kept - 1).sum())
        self.means = torch.cat([self.means[:first_class], means]) if first_class else means
        self.images = torch.cat([kept, images])
        self._add(scatter, weight)

    def merge(self, label: int, features: Tensor) -> None:
        """Describe a class that is known by more features `[n, d]`, as if they had come with its first ones.

        Raises:
            DataError: a feature is not finite.
        """
        mean, covariance = mean_and_covariance(finite(label, features))
        weight, before, new = self.degrees_of_freedom, int(self.images[label]), len(features)
        apart = mean - self.means[label].double()
        # Two parts of a sample (Chan et al. 1979): their scatters, and that of their means.
        scatter = covariance * (new - 1) + torch.outer(apart, apart) * before * new / (before + new)
        self.means, self.images = self.means.clone(), self.images.clone()
        self.means[label] += (apart * new / (before + new)).float()
        self.images[label] += new
        self._add(scatter, weight)

    def forget(self, label: int) -> None:
        """Drop a class; the labels after it move down by one."""
        self.means = without(self.means, label)
        self.images = without(self.images, label)
        self._roots = {}

    def move(self, means: Tensor, transform: Tensor | None = None, *, spread: float = 0.0) -> None:
        """Take the first classes to where their features have moved; see `ClassStatistics.move`.

        The one covariance moves as their share of its images has it.
        """
        known = len(means)
        moves, weights = means - self.means[:known].double(), (self.images - 1).clamp(min=0).double()
        share = float(weights[:known].sum() / weights.sum()) if weights.sum() else 1.0
        before = self.covariance.double()
        after = before if transform is None else transform @ before @ transform.mT
        after = after + spread * moves.mT @ moves / max(1, known)
        self.means = torch.cat([means.float(), self.means[known:]])
        self.covariance = ((1 - share) * before + share * after).float()
        self._roots = {}

    def bytes_per_class(self) -> int:
        """Return 4 d + 8."""
        return 4 * self.means.shape[1] + 8

    def within_class(self) -> Tensor:
        """Return the covariance about the means of all classes, shrunk, float64."""
        return shrunk(self.covariance, self.degrees_of_freedom)

    def sample(
        self, label: int, n: int, *, generator: torch.Generator, mean_scale: float = 1.0, ridge: float = 0.0
    ) -> Tensor:
        """Return `[n, d]` features drawn from N(mean_scale · mean, shrunk covariance + ridge I), float64 on the CPU."""
        if ridge not in self._roots:
            self._roots = {ridge: square_root(self.within_class(), ridge=ridge)}
        return draw(self.means[label].double() * mean_scale, self._roots[ridge], n, generator=generator)

    def tensors(self) -> dict[str, Tensor]:
        """Return `shared/mean [classes, d]`, `shared/images [classes]` and `shared/covariance [d, d]`."""
        named = {"mean": self.means, "images": self.images, "covariance": self.covariance}
        return {f"{self.kind}/{name}": tensor for name, tensor in named.items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> SharedCovariance:
        """Take what `tensors` gave."""
        return cls(*(tensors[f"{cls.kind}/{name}"].cpu() for name in ("mean", "images", "covariance")))

    def _add(self, scatter: Tensor, weight: int) -> None:
        """Let the covariance, which weighed so much before, be that of what was there and of the scatter `[d, d]`."""
        before = weight * self.covariance.double() if weight else torch.zeros_like(scatter)
        self.covariance = ((before + scatter) / max(1, self.degrees_of_freedom)).float()
        self._roots = {}
