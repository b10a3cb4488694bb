"""What makes answers trustworthy: a temperature for probabilities, and from which score on an image is unknown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

Score = Literal["mahalanobis", "energy"]
SCORES: tuple[Score, ...] = get_args(Score)


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Of one score, by which images of unknown classes are told: the higher, the stranger.

    Attributes:
        value: above it an image is unknown.
        auroc: in [0, 1], how often an image of a class left out scores above one of a class that is known; None
            where it could not be measured.
    """

    value: float
    auroc: float | None = None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Fitted after a visit by `training.calibrate`.

    Attributes:
        temperature: what logits are divided by before the softmax, above 0.
        images: held-out images that it rests on.
        error_before: expected calibration error on them at temperature 1, in [0, 1]; None without images.
        error_after: the same at this temperature.
        thresholds: by score; one that could not be fitted is not there.
        distances: `[m]`, float32: of every held-out image so far, its distance to the nearest class mean when it came.
    """

    temperature: float = 1.0
    images: int = 0
    error_before: float | None = None
    error_after: float | None = None
    thresholds: Mapping[Score, Threshold] = field(default_factory=dict[Score, Threshold])
    distances: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def default_score(self) -> Score | None:
        """The first of `SCORES` that has a threshold; None where none has.

        Not the one with the larger AUROC: over the few classes of a visit the two are within chance of each other.
        """
        return next((score for score in SCORES if score in self.thresholds), None)

    @property
    def is_fitted(self) -> bool:
        """Whether it is of the model as it is; what `outdated` leaves is not."""
        return bool(self.thresholds)

    def outdated(self) -> Calibration:
        """Return what stays of it when the model learns on: the distances of earlier images."""
        return Calibration(distances=self.distances)

    def tensors(self) -> dict[str, Tensor]:
        """Return it by name, for saving; NaN stands for None."""
        numbers = (self.temperature, self.images, _nan(self.error_before), _nan(self.error_after))
        thresholds = {score: (own.value, _nan(own.auroc)) for score, own in self.thresholds.items()}
        named = {"temperature": numbers, **thresholds}
        return {
            **{name: torch.tensor(row, dtype=torch.float64) for name, row in named.items()},
            "distances": self.distances,
        }

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Calibration:
        """Take what `tensors` gave."""
        temperature, images, before, after = tensors["temperature"].tolist()
        rows: dict[Score, list[float]] = {score: tensors[score].tolist() for score in SCORES if score in tensors}
        return cls(
            temperature=temperature,
            images=int(images),
            error_before=_none(before),
            error_after=_none(after),
            thresholds={score: Threshold(value=value, auroc=_none(auroc)) for score, (value, auroc) in rows.items()},
            distances=tensors["distances"].cpu(),
        )

    def with_threshold(self, score: Score, threshold: Threshold) -> Calibration:
        """Return it with another threshold."""
        return replace(self, thresholds={**self.thresholds, score: threshold})


def _nan(number: float | None) -> float:
    return math.nan if number is None else number


def _none(number: float) -> float | None:
    return None if math.isnan(number) else number
