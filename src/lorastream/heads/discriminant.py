"""A head whose rows learn on angles and answer as the discriminant of Gaussians with one covariance.

Rows that were trained one task at a time have never been compared with each other. This head does not repair them, it
replaces them: while a task is learnt its rows are those of `heads.cosine` and shape the features; after the task the
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

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from lorastream.heads.cosine import SCALE, cosine_logits
from lorastream.heads.linear import LinearHead
from lorastream.heads.statistics import ClassStatistics
from lorastream.linalg.gaussians import whitening


class DiscriminantHead(LinearHead):
    """Learns on angles, and answers as a linear head whose rows `tell_apart` computes.

    Args:
        width: d, the number of features.
        scale: what cosines are multiplied by while it learns, above 0.
        cosine_margin: what is taken off the cosine of an image's own class while it learns, from 0 to below 1.
    """

    def __init__(self, width: int, *, scale: float = SCALE, cosine_margin: float = 0.0) -> None:
        super().__init__(width)
        self.scale = scale
        self.cosine_margin = cosine_margin

    @property
    def margin(self) -> float:
        """What a loss takes off the logit of an image's own class."""
        return self.scale * self.cosine_margin

    def empty(self) -> Self:
        """Return a head of the same scale and margin without a class."""
        return type(self)(self.width, scale=self.scale, cosine_margin=self.cosine_margin)

    def forward(self, features: Tensor, *, since: int = 0, learning: bool = False) -> Tensor:
        """Return logits `[n, classes seen]` of `features [n, d]`: cosines while it learns, else the discriminant's."""
        if learning:
            return cosine_logits(features, self.since(since), self.scale)
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

    def tensors(self) -> dict[str, Tensor]:
        """Return `weight [classes, d]`, `bias [classes]` and `angles [2]`, scale and margin; nothing before a task."""
        if not self.n_classes:
            return {}
        return {**super().tensors(), "angles": torch.tensor([self.scale, self.cosine_margin], dtype=torch.float64)}

    def load_tensors(self, tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        super().load_tensors(tensors, sizes)
        self.scale, self.cosine_margin = tensors["angles"].tolist()
