"""What is kept of a class instead of its images where room is shortest: the mean and variance of every feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lorastream.heads.described import CountedStatistics, lent
from lorastream.linalg.gaussians import shrunk


@dataclass(eq=False)
class DiagonalCovariance(CountedStatistics):
    """Mean and variance of every feature of every class: 8 d + 8 bytes a class.

    A class of one image has no variance: it is lent the mean of the others', and where no class has any it is 0.

    Attributes:
        variances: `[classes, d]`, float32, over n - 1.
    """

    kind = "diagonal"
    variances: Tensor = field(default_factory=lambda: torch.empty(0, 0), metadata={"name": "variance"})

    def move(self, means: Tensor, transform: Tensor | None = None, *, spread: float = 0.0) -> None:
        """Take the first classes to where their features have moved; see `ClassStatistics.move`."""
        variances = self.variances[: len(means)].double()
        if transform is not None:
            variances = variances @ transform.mT.square()
        variances = variances + spread * (means - self.means[: len(means)].double()).square()
        self._begin_with(means=means, variances=variances)

    def within_class(self) -> Tensor:
        """Return the mean of the classes' covariances, shrunk, float64."""
        return shrunk(self.variances.double().mean(dim=0).diag(), self.degrees_of_freedom)

    def sample(
        self, label: int, n: int, *, generator: torch.Generator, mean_scale: float = 1.0, ridge: float = 0.0
    ) -> Tensor:
        """Return `[n, d]` features drawn from N(mean_scale · mean, diag(variance + ridge)), float64 on the CPU."""
        noise = torch.randn(n, self.means.shape[1], dtype=torch.float64, generator=generator)
        return self.means[label].double() * mean_scale + noise * (self.variances[label].double() + ridge).sqrt()

    def _describe(self, features: Tensor) -> dict[str, Tensor]:
        exact, n = features.double(), len(features)
        variance = exact.var(dim=0, correction=min(1, n - 1))
        return {"means": exact.mean(dim=0), "variances": variance, "images": torch.tensor(n)}

    def _take(self, first_class: int, rows: Mapping[str, Tensor]) -> None:
        super()._take(first_class, rows)
        self.variances = lent(self.variances)

    def _widen(self, label: int, features: Tensor, apart: Tensor) -> None:
        exact, before, new = features.double(), int(self.images[label]), len(features)
        scatter = self.variances[label].double() * (before - 1) + (exact - exact.mean(dim=0)).square().sum(dim=0)
        scatter += apart.square() * before * new / (before + new)
        self._set(label, variances=scatter / (before + new - 1))
