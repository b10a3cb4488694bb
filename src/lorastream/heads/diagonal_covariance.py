"""What is kept of a class instead of its images where room is shortest: the mean and variance of every feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from lorastream.heads.features import check_follows, finite, lent, without
from lorastream.linalg.gaussians import shrunk


class DiagonalCovariance:
    """Mean and variance of every feature of every class: 8 d + 8 bytes a class.

    A class of one image has no variance: it is lent the mean of the others', and where no class has any it is 0.

    Attributes:
        means: `[classes, d]`, float32.
        variances: `[classes, d]`, float32, over n - 1.
        images: int64 `[classes]`, how many each class was described by.
    """

    kind: Literal["diagonal"] = "diagonal"

    def __init__(
        self, means: Tensor | None = None, variances: Tensor | None = None, images: Tensor | None = None
    ) -> None:
        self.means = torch.empty(0, 0) if means is None else means
        self.variances = torch.empty(0, 0) if variances is None else variances
        self.images = torch.empty(0, dtype=torch.int64) if images is None else images

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
        exact = [finite(first_class + i, own).double() for i, own in enumerate(features)]
        means = torch.stack([own.mean(dim=0) for own in exact]).float()
        variances = torch.stack([own.var(dim=0, correction=min(1, len(own) - 1)) for own in exact]).float()
        images = torch.tensor([len(own) for own in exact])
        known = first_class > 0
        self.means = torch.cat([self.means[:first_class], means]) if known else means
        self.variances = lent(torch.cat([self.variances[:first_class], variances]) if known else variances)
        self.images = torch.cat([self.images[:first_class], images])

    def merge(self, label: int, features: Tensor) -> None:
        """Describe a class that is known by more features `[n, d]`, as if they had come with its first ones.

        Raises:
            DataError: a feature is not finite.
        """
        exact = finite(label, features).double()
        before, new = int(self.images[label]), len(exact)
        apart = exact.mean(dim=0) - self.means[label].double()
        # Two parts of a sample (Chan et al. 1979): their scatters, and that of their means.
        scatter = self.variances[label].double() * (before - 1) + (exact - exact.mean(dim=0)).square().sum(dim=0)
        scatter += apart.square() * before * new / (before + new)
        self.means, self.variances, self.images = self.means.clone(), self.variances.clone(), self.images.clone()
        self.means[label] += (apart * new / (before + new)).float()
        self.variances[label] = (scatter / (before + new - 1)).float()
        self.images[label] += new

    def forget(self, label: int) -> None:
        """Drop a class; the labels after it move down by one."""
        self.means, self.variances = without(self.means, label), without(self.variances, label)
        self.images = without(self.images, label)

    def move(self, means: Tensor, transform: Tensor | None = None, *, spread: float = 0.0) -> None:
        """Take the first classes to where their features have moved; see `ClassStatistics.move`."""
        known = len(means)
        variances = self.variances[:known].double()
        if transform is not None:
            variances = variances @ transform.mT.square()
        variances = variances + spread * (means - self.means[:known].double()).square()
        self.means = torch.cat([means.float(), self.means[known:]])
        self.variances = torch.cat([variances.float(), self.variances[known:]])

    def bytes_per_class(self) -> int:
        """Return 8 d + 8."""
        return 8 * self.means.shape[1] + 8

    def within_class(self) -> Tensor:
        """Return the mean of the classes' covariances, shrunk, float64."""
        weights = (self.images - 1).clamp(min=0)
        return shrunk(self.variances.double().mean(dim=0).diag(), int(weights.sum()))

    def sample(
        self, label: int, n: int, *, generator: torch.Generator, mean_scale: float = 1.0, ridge: float = 0.0
    ) -> Tensor:
        """Return `[n, d]` features drawn from N(mean_scale · mean, diag(variance + ridge)), float64 on the CPU."""
        noise = torch.randn(n, self.means.shape[1], dtype=torch.float64, generator=generator)
        return self.means[label].double() * mean_scale + noise * (self.variances[label].double() + ridge).sqrt()

    def tensors(self) -> dict[str, Tensor]:
        """Return `diagonal/mean [classes, d]`, `diagonal/variance [classes, d]` and `diagonal/images [classes]`."""
        named = {"mean": self.means, "variance": self.variances, "images": self.images}
        return {f"{self.kind}/{name}": tensor for name, tensor in named.items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> DiagonalCovariance:
        """Take what `tensors` gave."""
        return cls(*(tensors[f"{cls.kind}/{name}"].cpu() for name in ("mean", "variance", "images")))
