"""How strange an image looks to a model, from its features or its logits: the higher, the less like a class it knows.

Sources: `mahalanobis`, the distance to the nearest class mean under one covariance for all classes (Lee et al., NeurIPS
2018, eq. 2, of the last layer alone and without their noise on the input); `energy`, minus the log of the sum of the
exponentials of the logits (Liu et al., NeurIPS 2020, eq. 4, at temperature 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lorastream.heads.calibration import Score
from lorastream.heads.described import ClassStatistics
from lorastream.linalg.gaussians import whitening


class MahalanobisDistance:
    """Distances to class means in units of the spread within classes.

    Args:
        statistics: of at least one class.
        device: to compute on, in float32.

    Attributes:
        is_euclidean: no class has two images that differ, so nothing is known of the spread and the distance is plain.
    """

    def __init__(self, statistics: ClassStatistics, device: torch.device) -> None:
        covariance, means = statistics.within_class(), statistics.means.double()
        self.is_euclidean = not covariance.any()
        whiten = whitening(covariance)
        self._origin = means.mean(dim=0).float().to(device)  # float32 loses less near the origin
        self._whiten = whiten.mT.float().to(device)
        self._means = ((means - means.mean(dim=0)) @ whiten.mT).float().to(device)

    def __call__(self, features: Tensor) -> Tensor:
        """Return `[n, classes]`, at least 0, of `features [n, d]`."""
        whitened = (features.float() - self._origin) @ self._whiten
        return torch.cdist(whitened, self._means, compute_mode="donot_use_mm_for_euclid_dist")


def strangeness(score: Score, likeness: Tensor) -> Tensor:
    """Return `[n]` scores of how alike n images are to each class.

    Args:
        score: which.
        likeness: `[n, classes]`: for `energy` logits, for `mahalanobis` distances with a minus; -inf leaves one out.
    """
    return -likeness.logsumexp(dim=1) if score == "energy" else -likeness.amax(dim=1)
