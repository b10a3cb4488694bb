"""What is kept of a class instead of its images: a Gaussian of its features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from lorastream.data.task import Batch
from lorastream.errors import CheckpointError, DataError
from lorastream.linalg.gaussians import draw, mean_and_covariance, square_root

Covariance = Literal["full"]


class ClassStatistics(Protocol):
    """A Gaussian of the features of every class; plain tensors on the CPU, so that sampling is the same everywhere."""

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

    Both are computed in float64 (the covariance over n - 1, of one image 0) and kept in float32.

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
        _check_follows(first_class, self.n_classes)
        estimated = [mean_and_covariance(_finite(first_class + i, own)) for i, own in enumerate(features)]
        means, covariances = (torch.stack(own).float() for own in zip(*estimated, strict=True))
        # New tensors, so that what was handed out for saving does not change.
        known = first_class > 0
        self.means = torch.cat([self.means[:first_class], means]) if known else means
        self.covariances = torch.cat([self.covariances[:first_class], covariances]) if known else covariances

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


STATISTICS: dict[Covariance, type[FullCovariance]] = {"full": FullCovariance}


def new_statistics(covariance: Covariance) -> ClassStatistics:
    """Return statistics of this kind, of no class yet."""
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


def features_by_class(passes: Iterable[tuple[Batch, Tensor]], classes: range) -> list[Tensor]:
    """Sort the features of one pass by class.

    Args:
        passes: batches, each with its features `[n, d]`, such as `model.passes` gives.
        classes: the labels that are expected.

    Returns:
        For each class `[its images, d]` on the CPU.

    Raises:
        DataError: a class has no images.
    """
    pairs = [(batch.labels.cpu(), features.detach().cpu()) for batch, features in passes]
    labels, features = torch.cat([own for own, _ in pairs]), torch.cat([own for _, own in pairs])
    found = [features[labels == label] for label in classes]
    empty = [label for label, own in zip(classes, found, strict=True) if not len(own)]
    if empty:
        raise DataError(
            f"class statistics, class {empty[0]}",
            expected="at least one training image of every class of the task",
            got="none",
            next_step="leave the class out of the stream, or give it images",
        )
    return found


def _check_follows(first_class: int, described: int) -> None:
    if first_class > described:
        raise DataError(
            "class statistics",
            expected=f"statistics of the {first_class} classes that came before",
            got=f"of {described}",
            next_step="set training.alignment from the first task on: no image of older classes is kept",
        )


def _finite(label: int, features: Tensor) -> Tensor:
    if not torch.isfinite(features).all():
        raise DataError(
            f"class statistics, class {label}",
            expected="finite features",
            got="NaN or infinity",
            next_step="look at the images of that class, or use training.precision=fp32",
        )
    return features
