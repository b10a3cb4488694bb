"""What is kept of a class instead of its images: a Gaussian of its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from lorastream.errors import CheckpointError, DataError
from lorastream.heads.diagonal_covariance import DiagonalCovariance
from lorastream.heads.features import check_follows, finite, lent, without
from lorastream.heads.low_rank_covariance import LowRankCovariance
from lorastream.heads.shared_covariance import SharedCovariance
from lorastream.linalg.gaussians import draw, mean_and_covariance, shrunk, square_root

Covariance = Literal["full", "ledoit_wolf", "oas", "shared", "diagonal", "low_rank"]


class ClassStatistics(Protocol):
    """A Gaussian of the features of every class; plain tensors on the CPU, so that sampling is the same everywhere.

    Attributes:
        means: `[classes, d]`.
    """

    means: Tensor

    @property
    def n_classes(self) -> int:
        """How many classes are described: those with the first labels."""
        ...

    def put(self, first_class: int, features: Sequence[Tensor]) -> None:
        """Describe the classes from `first_class` on by `features [n, d]` of each; what was known of them goes.

        Raises:
            DataError: classes before `first_class` are not described, or a feature is not finite.
        """
        ...

    def merge(self, label: int, features: Tensor) -> None:
        """Describe a class that is known by more features `[n, d]`, as if they had come with its first ones.

        Raises:
            DataError: a feature is not finite, or how many the class had is not kept.
        """
        ...

    def forget(self, label: int) -> None:
        """Drop a class; the labels after it move down by one."""
        ...

    def move(self, means: Tensor, transform: Tensor | None = None, *, spread: float = 0.0) -> None:
        """Take the first classes to where their features have moved; see `heads.drift`.

        Args:
            means: `[k, d]`, of the first k classes.
            transform: `[d, d]`, what features are multiplied by; None: only means move.
            spread: how much of δ δ', of the move δ of a mean, is added to its covariance.
        """
        ...

    def bytes_per_class(self) -> int:
        """Return how many bytes one more class takes; what all share is not counted."""
        ...

    def within_class(self) -> Tensor:
        """Return one covariance `[d, d]` of features about the means of their classes, shrunk, float64."""
        ...

    def sample(
        self, label: int, n: int, *, generator: torch.Generator, mean_scale: float = 1.0, ridge: float = 0.0
    ) -> Tensor:
        """Return `[n, d]` features drawn for a class, float64 on the CPU.

        Args:
            label: of the class.
            n: how many.
            generator: a CPU generator.
            mean_scale: what the mean is multiplied by.
            ridge: what is added to the variance of every feature.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return the statistics by name, for saving; the kind is part of the names. They are not copied."""
        ...


class FullCovariance:
    """Mean and full covariance of every class: 4 (d + d²) bytes a class.

    Both are computed in float64 (the covariance over n - 1) and kept in float32. A class of one image has no spread: it
    is lent the mean covariance of the others, and where no class has any it is 0.

    Attributes:
        means: `[classes, d]`.
        covariances: `[classes, d, d]`, without the ridge.
    """

    kind: Covariance = "full"

    def __init__(self, means: Tensor | None = None, covariances: Tensor | None = None) -> None:
        self.means = torch.empty(0, 0) if means is None else means
        self.covariances = torch.empty(0, 0, 0) if covariances is None else covariances

    @property
    def n_classes(self) -> int:
        """How many classes are described."""
        return len(self.means)

    def put(self, first_class: int, features: Sequence[Tensor]) -> None:
        """Describe the classes from `first_class` on by `features [n, d]` of each; what was known of them goes.

        Raises:
            DataError: classes before `first_class` are not described, or a feature is not finite.
        """
        check_follows(first_class, self.n_classes)
        estimated = [self._estimate(finite(first_class + i, own)) for i, own in enumerate(features)]
        means, covariances = (torch.stack(own).float() for own in zip(*estimated, strict=True))
        # New tensors, so that what was handed out for saving does not change.
        known = first_class > 0
        self.means = torch.cat([self.means[:first_class], means]) if known else means
        self.covariances = torch.cat([self.covariances[:first_class], covariances]) if known else covariances
        self.covariances = lent(self.covariances)

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

    def forget(self, label: int) -> None:
        """Drop a class; the labels after it move down by one."""
        self.means = without(self.means, label)
        self.covariances = without(self.covariances, label)

    def move(self, means: Tensor, transform: Tensor | None = None, *, spread: float = 0.0) -> None:
        """Take the first classes to where their features have moved; see `ClassStatistics.move`."""
        known = len(means)
        moves = means - self.means[:known].double()
        covariances = self.covariances[:known].double()
        if transform is not None:
            covariances = transform @ covariances @ transform.mT
        covariances = covariances + spread * moves[:, :, None] * moves[:, None, :]
        self.means = torch.cat([means.float(), self.means[known:]])
        self.covariances = torch.cat([covariances.float(), self.covariances[known:]])

    def bytes_per_class(self) -> int:
        """Return 4 (d + d²)."""
        width = self.means.shape[1]
        return 4 * (width + width * width)

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

    def tensors(self) -> dict[str, Tensor]:
        """Return `full/mean [classes, d]` and `full/covariance [classes, d, d]`."""
        return {f"{self.kind}/mean": self.means, f"{self.kind}/covariance": self.covariances}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> FullCovariance:
        """Take what `tensors` gave."""
        return cls(tensors[f"{cls.kind}/mean"].cpu(), tensors[f"{cls.kind}/covariance"].cpu())

    def _estimate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean `[d]` and covariance `[d, d]` of `rows [n, d]`, in float64."""
        return mean_and_covariance(rows)


class LedoitWolfCovariance(FullCovariance):
    """As `FullCovariance`, each pulled towards a multiple of the identity as Ledoit and Wolf say (2004, JMVA)."""

    kind: Covariance = "ledoit_wolf"

    def _estimate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        from sklearn.covariance import LedoitWolf

        return shrunk_by(LedoitWolf, rows)


class OASCovariance(FullCovariance):
    """As `FullCovariance`, each pulled towards a multiple of the identity as Chen et al. say (2010, IEEE TSP)."""

    kind: Covariance = "oas"

    def _estimate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        from sklearn.covariance import OAS

        return shrunk_by(OAS, rows)


def shrunk_by(estimator: Callable[[], Any], rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and scikit-learn's shrunk covariance of `rows [n, d]`, in float64; of a single row 0."""
    mean, covariance = mean_and_covariance(rows)
    if len(rows) == 1:
        return mean, covariance
    return mean, torch.from_numpy(estimator().fit(rows.double().numpy()).covariance_)


STATISTICS: dict[Covariance, type[FullCovariance | SharedCovariance | DiagonalCovariance | LowRankCovariance]] = {
    "full": FullCovariance,
    "ledoit_wolf": LedoitWolfCovariance,
    "oas": OASCovariance,
    "shared": SharedCovariance,
    "diagonal": DiagonalCovariance,
    "low_rank": LowRankCovariance,
}


def new_statistics(covariance: Covariance, *, rank: int | None = None) -> ClassStatistics:
    """Return statistics of this kind, of no class yet; `rank` is of `low_rank` alone, 32 where it is None."""
    if covariance == "low_rank" and rank is not None:
        return LowRankCovariance(rank=rank)
    return STATISTICS[covariance]()


def load_statistics(tensors: Mapping[str, Tensor]) -> ClassStatistics:
    """Take what some statistics' `tensors` gave; their names say which kind it was.

    Raises:
        CheckpointError: statistics of a kind that is not known here.
    """
    kinds = {name.partition("/")[0] for name in tensors}
    for known, made in STATISTICS.items():
        if kinds == {known}:
            return made.of_tensors(tensors)
    raise CheckpointError(
        "the stored class statistics",
        expected=f"of kind {' or '.join(STATISTICS)}",
        got=", ".join(sorted(kinds)) or "nothing",
        next_step="load the model with the release of lorastream that wrote it, or a newer one",
    )
