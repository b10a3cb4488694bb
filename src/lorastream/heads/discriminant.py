"""A head whose rows learn on angles and answer as the discriminant of Gaussians with one covariance.

Rows that were trained one task at a time have never been compared with each other. This head does not repair them, it
replaces them: while a task is learnt its rows are those of `heads.angles` and shape the features; after the task the
rows of all classes are computed anew from the classes' statistics, in closed form.

Source: Fisher's linear discriminant with equal priors, as Deep SLDA (Hayes and Kanan, CVPR Workshops 2020) keeps it
running over frozen features; here the features move, and the means follow them (`heads.drift`). Formula, for class
means m_c, their mean m and the covariance Σ of features about the means of their classes:

    z_c = f' Σ⁻¹ (m_c - m) + b_c,    b_c = -½ (m_c' Σ⁻¹ m_c - m' Σ⁻¹ m)

Differences of logits are then those of the log likelihoods, so the softmax is the Gaussians' own posterior. What
belongs to m is the same for all classes and keeps the logits small. No step is taken, so no rate, epochs or samples are
open, and the head is exported as the linear one that it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lorastream.heads.angles import AngularHead
from lorastream.heads.described import ClassStatistics
from lorastream.heads.linear import LinearHead
from lorastream.linalg.gaussians import whitening


class DiscriminantHead(AngularHead, LinearHead):
    """Learns on angles, and answers as a linear head whose rows `tell_apart` computes; `angles [2]` is saved too."""

    stored_as = "angles"

    def forward(self, features: Tensor, *, since: int = 0, learning: bool = False) -> Tensor:
        """Return logits `[n, classes seen]` of `features [n, d]`: cosines while it learns, else the discriminant's."""
        if learning:
            return self.cosines(features, since=since)
        return super().forward(features, since=since)

    def tell_apart(self, statistics: ClassStatistics) -> None:
        """Compute the rows of all classes from their statistics.

        Directions of the features in which nothing varies count as if they varied little (`whitening`); where no class
        has two images the covariance is unknown, and the nearest mean answers.

        Args:
            statistics: of all classes seen.
        """
        means = statistics.means.double()
        white = whitening(statistics.within_class())
        own, common = means @ white.mT, means.mean(dim=0) @ white.mT
        rows, biases = (own - common) @ white, -(own.square().sum(dim=1) - common.square().sum()) / 2
        with torch.no_grad():
            for table, values in ((self.weights, rows), (self.biases, biases)):
                for parameter, own in zip(table, values.split([len(p) for p in table]), strict=True):
                    parameter.copy_(own)
