"""What is kept of a class instead of its images where room is short: its mean, and one covariance for all classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lorastream.heads.described import CountedStatistics
from lorastream.linalg.gaussians import draw, mean_and_covariance, shrunk, square_root


@dataclass(eq=False)
class SharedCovariance(CountedStatistics):
    """Mean of every class and one covariance about them for all: 4 d + 8 bytes a class, and 4 d² once.

    The covariance is the classes' scatter over sum (n_c - 1), so every image weighs the same and a class of one image
    adds its mean alone. It is kept as it is and shrunk (`linalg.gaussians.shrunk`) when used. A class that is forgotten
    or put again takes its weight with it but leaves the covariance as it was: which part of it came from that class is
    not kept.

    Attributes:
        covariance: `[d, d]`, float32, not shrunk; zeros as long as no class has two images.
    """

    kind = "shared"
    covariance: Tensor = field(
        default_factory=lambda: torch.empty(0, 0), metadata={"name": "covariance", "common": True}
    )

    def __post_init__(self) -> None:
        self._roots: dict[float, Tensor] = {}

    def forget(self, label: int) -> None:
        """Drop a class; the labels after it move down by one."""
        super().forget(label)
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
        self._begin_with(means=means)
        self.covariance = ((1 - share) * before + share * after).float()
        self._roots = {}

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

    def _describe(self, features: Tensor) -> dict[str, Tensor]:
        mean, covariance = mean_and_covariance(features)
        return {"means": mean, "images": torch.tensor(len(features)), "scatter": covariance * (len(features) - 1)}

    def _take(self, first_class: int, rows: Mapping[str, Tensor]) -> None:
        weight = int((self.images[:first_class] - 1).sum())
        self._add(rows["scatter"].sum(dim=0), weight, int((rows["images"] - 1).sum()))
        super()._take(first_class, {name: own for name, own in rows.items() if name != "scatter"})

    def _widen(self, label: int, features: Tensor, apart: Tensor) -> None:
        before, new = int(self.images[label]), len(features)
        scatter = mean_and_covariance(features)[1] * (new - 1) + torch.outer(apart, apart) * before * new / (
            before + new
        )
        self._add(scatter, self.degrees_of_freedom, new)

    def _add(self, scatter: Tensor, weight: int, added: int) -> None:
        """Let the covariance, which weighed so much before, be that of what was there and of the scatter `[d, d]`."""
        before = weight * self.covariance.double() if weight else torch.zeros_like(scatter)
        self.covariance = ((before + scatter) / max(1, weight + added)).float()
        self._roots = {}
