"""What is kept of a class instead of its images where room is plenty: its mean and its full covariance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lorastream.errors import DataError
from lorastream.heads.described import ClassStatistics, lent
from lorastream.linalg.gaussians import draw, mean_and_covariance, shrunk, square_root


@dataclass(eq=False)
class FullCovariance(ClassStatistics):
    """Mean and full covariance of every class: 4 (d + d²) bytes a class.

    Both are computed in float64 (the covariance over n - 1) and kept in float32. A class of one image has no spread: it
    is lent the mean covariance of the others, and where no class has any it is 0.

    Attributes:
        covariances: `[classes, d, d]`, without the ridge.
    """

    kind = "full"
    covariances: Tensor = field(default_factory=lambda: torch.empty(0, 0, 0), metadata={"name": "covariance"})

    def merge(self, label: int, features: Tensor) -> None:
        """Refuse: how many images a class had is not kept, so nothing can be weighed against them.

        Raises:
            DataError: always.
        """
        del features
        raise DataError(
            f"class statistics, class {label}",
            expected="statistics that know how many images a class had: training.alignment.covariance=shared",
            got="a mean and a full covariance alone",
            next_step="teach the images as a class of another name, or begin a model with shared covariance",
        )

    def move(self, means: Tensor, transform: Tensor | None = None, *, spread: float = 0.0) -> None:
        """Take the first classes to where their features have moved; see `ClassStatistics.move`."""
        moves = means - self.means[: len(means)].double()
        covariances = self.covariances[: len(means)].double()
        if transform is not None:
            covariances = transform @ covariances @ transform.mT
        covariances = covariances + spread * moves[:, :, None] * moves[:, None, :]
        self._begin_with(means=means, covariances=covariances)

    def within_class(self) -> Tensor:
        """Return the mean of the classes' covariances, shrunk as for as few images as its rank allows, float64."""
        mean = self.covariances.double().mean(dim=0)
        return shrunk(mean, int(torch.linalg.matrix_rank(mean, hermitian=True)))

    def sample(
        self, label: int, n: int, *, generator: torch.Generator, mean_scale: float = 1.0, ridge: float = 0.0
    ) -> Tensor:
        """Return `[n, d]` features drawn from N(mean_scale · mean, covariance + ridge I), float64 on the CPU."""
        root = square_root(self.covariances[label], ridge=ridge)
        return draw(self.means[label].double() * mean_scale, root, n, generator=generator)

    def _describe(self, features: Tensor) -> dict[str, Tensor]:
        mean, covariance = self._estimate(features)
        return {"means": mean, "covariances": covariance}

    def _take(self, first_class: int, rows: Mapping[str, Tensor]) -> None:
        super()._take(first_class, rows)
        self.covariances = lent(self.covariances)

    def _estimate(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean `[d]` and covariance `[d, d]` of `features [n, d]`, in float64."""
        return mean_and_covariance(features)


class LedoitWolfCovariance(FullCovariance):
    """As `FullCovariance`, each pulled towards a multiple of the identity as Ledoit and Wolf say (2004, JMVA)."""

    kind = "ledoit_wolf"

    def _estimate(self, features: Tensor) -> tuple[Tensor, Tensor]:
        from sklearn.covariance import LedoitWolf

        return _shrunk_by(LedoitWolf, features)


class OASCovariance(FullCovariance):
    """As `FullCovariance`, each pulled towards a multiple of the identity as Chen et al. say (2010, IEEE TSP)."""

    kind = "oas"

    def _estimate(self, features: Tensor) -> tuple[Tensor, Tensor]:
        from sklearn.covariance import OAS

        return _shrunk_by(OAS, features)


def _shrunk_by(estimator: Callable[[], Any], features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and scikit-learn's shrunk covariance of `features [n, d]`, in float64; of a single row 0."""
    mean, covariance = mean_and_covariance(features)
    if len(features) == 1:
        return mean, covariance
    return mean, torch.from_numpy(estimator().fit(features.double().numpy()).covariance_)
