"""How far probabilities can be believed, and how well a score tells what is known from what is not. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 15


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """What was claimed and what came true, in bins of equal width of the probability of the answer.

    Attributes:
        images: in each bin.
        confidence: mean probability of the answers in each bin, in [0, 1]; None where there are none.
        accuracy: share of them that is right, in [0, 1]; None where there are none.
    """

    images: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]

    @classmethod
    def of_sums(cls, images: ArrayLike, confidence: ArrayLike, right: ArrayLike) -> Reliability:
        """Make it of what can be added up over parts of the images.

        Args:
            images: `[bins]`, answers in each bin.
            confidence: `[bins]`, the sum of their probabilities.
            right: `[bins]`, how many of them are right.
        """
        counts = np.asarray(images, dtype=np.int64)
        return cls(
            images=tuple(counts.tolist()),
            confidence=_means(np.asarray(confidence, dtype=np.float64), counts),
            accuracy=_means(np.asarray(right, dtype=np.float64), counts),
        )

    @property
    def error(self) -> float | None:
        """The expected calibration error, in [0, 1]; None without images.

        The mean over bins of |accuracy - confidence|, weighted by their images (Guo et al., ICML 2017, eq. 3).
        """
        total = sum(self.images)
        if not total:
            return None
        gaps = zip(self.images, self.accuracy, self.confidence, strict=True)
        return (
            sum(n * abs(right - claimed) for n, right, claimed in gaps if right is not None and claimed is not None)
            / total
        )


def reliability(probabilities: ArrayLike, right: ArrayLike, *, bins: int = BINS) -> Reliability:
    """Sort answers into bins (i / bins, (i + 1) / bins] by the probability that was claimed for them.

    Args:
        probabilities: `[n]`, of the most probable class, in [0, 1].
        right: `[n]`, whether it was the true one.
        bins: how many, at least 1.
    """
    claimed, true = np.asarray(probabilities, dtype=np.float64), np.asarray(right, dtype=bool)
    place = np.clip(np.ceil(claimed * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    claims = np.bincount(place, weights=claimed, minlength=bins)
    return Reliability.of_sums(images, claims, np.bincount(place, weights=true, minlength=bins))


def expected_calibration_error(probabilities: ArrayLike, right: ArrayLike, *, bins: int = BINS) -> float | None:
    """Return the expected calibration error; see `Reliability.error`."""
    return reliability(probabilities, right, bins=bins).error


def auroc(known: ArrayLike, unknown: ArrayLike) -> float | None:
    """Return how often an unknown has a higher score than a known, over all pairs; equal scores count half.

    It is the area under the ROC curve (Mann and Whitney's U over the pairs): 1 tells them apart, 0.5 is a coin.

    Args:
        known: `[n]` scores of what is known.
        unknown: `[m]` scores of what is not.

    Returns:
        In [0, 1]; None where one of the two is empty.
    """
    low, high = np.sort(np.asarray(known, dtype=np.float64)), np.asarray(unknown, dtype=np.float64)
    if not low.size or not high.size:
        return None
    below, not_above = np.searchsorted(low, high, side="left"), np.searchsorted(low, high, side="right")
    return float((below + not_above).sum() / (2 * low.size * high.size))


def upper_quantile(values: ArrayLike, share: float, *, weights: ArrayLike | None = None) -> float:
    """Return the least of the values that is not exceeded by at least `share` of the weight.

    Args:
        values: `[n]`, n at least 1.
        share: in [0, 1].
        weights: `[n]`, above 0; all the same by default.
    """
    numbers = np.asarray(values, dtype=np.float64)
    heavy = np.ones_like(numbers) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(numbers, kind="stable")
    reached = np.cumsum(heavy[order])
    first = int(np.searchsorted(reached, share * reached[-1] * (1 - 1e-12)))
    return float(numbers[order][min(first, len(numbers) - 1)])


def _means(sums: NDArray[Any], images: NDArray[Any]) -> tuple[float | None, ...]:
    pairs: Sequence[tuple[float, int]] = list(zip(sums.tolist(), images.tolist(), strict=True))
    return tuple(total / n if n else None for total, n in pairs)
