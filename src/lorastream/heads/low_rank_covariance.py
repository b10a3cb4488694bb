"""What is kept of a class instead of its images between a full covariance and its diagonal: its main directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from lorastream.heads.described import CountedStatistics, lent
from lorastream.linalg.gaussians import low_rank_and_rest, mean_and_covariance, shrunk

RANK = 32


@dataclass(eq=False)
class LowRankCovariance(CountedStatistics):
    """Mean and covariance F F' + diag(v) of every class, F of r columns: 4 d (2 + r) + 8 bytes a class.

    F F' is the part of the covariance in its r largest directions and v what is left of its diagonal, so every
    variance is kept as it was. A class of one image has no spread: it is lent the others' mean diagonal.

    Attributes:
        factors: `[classes, d, r]`, float32.
        rests: `[classes, d]`, float32: v.
    """

    kind = "low_rank"
    factors: Tensor = field(default_factory=lambda: torch.empty(0, 0, RANK), metadata={"name": "factor"})
    rests: Tensor = field(default_factory=lambda: torch.empty(0, 0), metadata={"name": "rest"})

    @classmethod
    def of_rank(cls, rank: int) -> Self:
        """Return statistics of no class yet that keep so many directions of each, at least 1."""
        return cls(factors=torch.empty(0, 0, rank))

    @property
    def rank(self) -> int:
        """How many directions are kept of each class."""
        return self.factors.shape[2]

    def move(self, means: Tensor, transform: Tensor | None = None, *, spread: float = 0.0) -> None:
        """Take the first classes to where their features have moved; see `ClassStatistics.move`.

        Of a transformed diagonal, and of the spread, the diagonal is kept.
        """
        known = len(means)
        factors, rests = self.factors[:known].double(), self.rests[:known].double()
        if transform is not None:
            factors, rests = transform @ factors, rests @ transform.mT.square()
        rests = rests + spread * (means - self.means[:known].double()).square()
        self._begin_with(means=means, factors=factors, rests=rests)

    def within_class(self) -> Tensor:
        """Return the mean of the classes' covariances, shrunk, float64."""
        width = self.means.shape[1]
        total = torch.zeros(width, width, dtype=torch.float64)
        for label in range(self.n_classes):
            total += self._dense(label)
        return shrunk(total / max(1, self.n_classes), self.degrees_of_freedom)

    def sample(
        self, label: int, n: int, *, generator: torch.Generator, mean_scale: float = 1.0, ridge: float = 0.0
    ) -> Tensor:
        """Return `[n, d]` features drawn from N(mean_scale · mean, F F' + diag(v) + ridge I), float64 on the CPU."""
        factor, rest = self.factors[label].double(), self.rests[label].double()
        along = torch.randn(n, self.rank, dtype=torch.float64, generator=generator)
        apart = torch.randn(n, len(rest), dtype=torch.float64, generator=generator)
        return self.means[label].double() * mean_scale + along @ factor.mT + apart * (rest + ridge).sqrt()

    def _describe(self, features: Tensor) -> dict[str, Tensor]:
        mean, covariance = mean_and_covariance(features)
        factor, rest = low_rank_and_rest(covariance, self.rank)
        return {"means": mean, "factors": factor, "rests": rest, "images": torch.tensor(len(features))}

    def _take(self, first_class: int, rows: Mapping[str, Tensor]) -> None:
        super()._take(first_class, rows)
        diagonals = self.factors.square().sum(dim=2) + self.rests
        self.rests = torch.where(diagonals.any(dim=1)[:, None], self.rests, lent(diagonals))

    def _widen(self, label: int, features: Tensor, apart: Tensor) -> None:
        before, new = int(self.images[label]), len(features)
        scatter = self._dense(label) * (before - 1) + mean_and_covariance(features)[1] * (new - 1)
        scatter += torch.outer(apart, apart) * before * new / (before + new)
        factor, rest = low_rank_and_rest(scatter / (before + new - 1), self.rank)
        self._set(label, factors=factor, rests=rest)

    def _dense(self, label: int) -> Tensor:
        factor = self.factors[label].double()
        return factor @ factor.mT + self.rests[label].double().diag()
