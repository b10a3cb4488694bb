"""What is kept of a class instead of its images between a full covariance and its diagonal: its main directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from lorastream.heads.features import check_follows, finite, lent, without
from lorastream.linalg.gaussians import low_rank_and_rest, mean_and_covariance, shrunk

RANK = 32


class LowRankCovariance:
    """Mean and covariance F F' + diag(v) of every class, F of r columns: 4 d (2 + r) + 8 bytes a class.

    F F' is the part of the covariance in its r largest directions and v what is left of its diagonal, so every
    variance is kept as it was. A class of one image has no spread: it is lent the others' mean diagonal.

    Args:
        means: `[classes, d]`, float32.
        factors: `[classes, d, r]`, float32.
        rests: `[classes, d]`, float32: v.
        images: int64 `[classes]`, how many each class was described by.
        rank: r, at least 1; taken from `factors` where they are given.
    """

    kind: Literal["low_rank"] = "low_rank"

    def __init__(
        self,
        means: Tensor | None = None,
        factors: Tensor | None = None,
        rests: Tensor | None = None,
        images: Tensor | None = None,
        *,
        rank: int = RANK,
    ) -> None:
        self.means = torch.empty(0, 0) if means is None else means
        self.factors = torch.empty(0, 0, rank) if factors is None else factors
        self.rests = torch.empty(0, 0) if rests is None else rests
        self.images = torch.empty(0, dtype=torch.int64) if images is None else images

    @property
    def n_classes(self) -> int:
        """How many classes are described."""
        return len(self.means)

    @property
    def rank(self) -> int:
        """How many directions are kept of each class."""
        return self.factors.shape[2]

    def put(self, first_class: int, features: Sequence[Tensor]) -> None:
        """Describe the classes from `first_class` on by `features [n, d]` of each; what was known of them goes.

        Raises:
            DataError: classes before `first_class` are not described, or a feature is not finite.
        """
        check_follows(first_class, self.n_classes)
        estimated = [mean_and_covariance(finite(first_class + i, own)) for i, own in enumerate(features)]
        parts = [low_rank_and_rest(covariance, self.rank) for _, covariance in estimated]
        self._set(
            first_class,
            torch.stack([mean for mean, _ in estimated]),
            torch.stack([factor for factor, _ in parts]),
            torch.stack([rest for _, rest in parts]),
            torch.tensor([len(own) for own in features]),
        )

    def merge(self, label: int, features: Tensor) -> None:
        """Describe a class that is known by more features `[n, d]`, as if they had come with its first ones.

        Raises:
            DataError: a feature is not finite.
        """
        mean, covariance = mean_and_covariance(finite(label, features))
        before, new = int(self.images[label]), len(features)
        apart = mean - self.means[label].double()
        # Two parts of a sample (Chan et al. 1979): their scatters, and that of their means.
        scatter = self._dense(label) * (before - 1) + covariance * (new - 1)
        scatter += torch.outer(apart, apart) * before * new / (before + new)
        factor, rest = low_rank_and_rest(scatter / (before + new - 1), self.rank)
        self.means, self.factors = self.means.clone(), self.factors.clone()
        self.rests, self.images = self.rests.clone(), self.images.clone()
        self.means[label] += (apart * new / (before + new)).float()
        self.factors[label], self.rests[label] = factor.float(), rest.float()
        self.images[label] += new

    def forget(self, label: int) -> None:
        """Drop a class; the labels after it move down by one."""
        self.means, self.factors = without(self.means, label), without(self.factors, label)
        self.rests, self.images = without(self.rests, label), without(self.images, label)

    def move(self, means: Tensor, transform: Tensor | None = None, *, spread: float = 0.0) -> None:
        """Take the first classes to where their features have moved; see `ClassStatistics.move`.

        Of a transformed diagonal, and of the spread, the diagonal is kept.
        """
        known = len(means)
        factors, rests = self.factors[:known].double(), self.rests[:known].double()
        if transform is not None:
            factors, rests = transform @ factors, rests @ transform.mT.square()
        rests = rests + spread * (means - self.means[:known].double()).square()
        self.means = torch.cat([means.float(), self.means[known:]])
        self.factors = torch.cat([factors.float(), self.factors[known:]])
        self.rests = torch.cat([rests.float(), self.rests[known:]])

    def bytes_per_class(self) -> int:
        """Return 4 d (2 + r) + 8."""
        return 4 * self.means.shape[1] * (2 + self.rank) + 8

    def within_class(self) -> Tensor:
        """Return the mean of the classes' covariances, shrunk, float64."""
        width = self.means.shape[1]
        total = torch.zeros(width, width, dtype=torch.float64)
        for label in range(self.n_classes):
            total += self._dense(label)
        return shrunk(total / max(1, self.n_classes), int((self.images - 1).clamp(min=0).sum()))

    def sample(
        self, label: int, n: int, *, generator: torch.Generator, mean_scale: float = 1.0, ridge: float = 0.0
    ) -> Tensor:
        """Return `[n, d]` features drawn from N(mean_scale · mean, F F' + diag(v) + ridge I), float64 on the CPU."""
        factor, rest = self.factors[label].double(), self.rests[label].double()
        along = torch.randn(n, self.rank, dtype=torch.float64, generator=generator)
        apart = torch.randn(n, len(rest), dtype=torch.float64, generator=generator)
        return self.means[label].double() * mean_scale + along @ factor.mT + apart * (rest + ridge).sqrt()

    def tensors(self) -> dict[str, Tensor]:
        """Return `low_rank/mean`, `low_rank/factor`, `low_rank/rest` and `low_rank/images`."""
        named = {"mean": self.means, "factor": self.factors, "rest": self.rests, "images": self.images}
        return {f"{self.kind}/{name}": tensor for name, tensor in named.items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> LowRankCovariance:
        """Take what `tensors` gave."""
        return cls(*(tensors[f"{cls.kind}/{name}"].cpu() for name in ("mean", "factor", "rest", "images")))

    def _dense(self, label: int) -> Tensor:
        factor = self.factors[label].double()
        return factor @ factor.mT + self.rests[label].double().diag()

    def _set(self, first: int, means: Tensor, factors: Tensor, rests: Tensor, images: Tensor) -> None:
        known = first > 0
        self.means = torch.cat([self.means[:first], means.float()]) if known else means.float()
        self.factors = torch.cat([self.factors[:first], factors.float()]) if known else factors.float()
        rests = torch.cat([self.rests[:first], rests.float()]) if known else rests.float()
        self.images = torch.cat([self.images[:first], images]) if known else images
        self.rests = self._lent(rests)

    def _lent(self, rests: Tensor) -> Tensor:
        """Give a class without any spread the mean diagonal of the others."""
        diagonals = self.factors.square().sum(dim=2) + rests
        spreadless = ~diagonals.any(dim=1)
        return torch.where(spreadless[:, None], lent(diagonals), rests)
