"""Pairs of images of one class in a batch, and how much nearer or farther they are than the network before had them.

MACIL (ICML 2025) in the reading of its code: under the network as it was when the task began, each new class has a
covariance Σ of features, widened as FeCAM does (γ₁ = γ₂ = 10) and by 1e-3 on the diagonal. The distance of two images
of the class is that of Mahalanobis under it, of their features at unit length; what it changes by is summed over the
pairs of the batch and divided by its images.

A pair may lie in two micro-batches or on two processes, so the whole batch is looked at before: where it was cut, that
is one more pass without gradients, and the sum does not depend on how. (The code has one process and does not cut.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lorastream import processes
from lorastream.data.task import Batch
from lorastream.linalg.feature_changes import distance_change, whitened
from lorastream.linalg.gaussians import mean_and_covariance, whitening, widened

WIDENED = 10.0
"""γ₁ and γ₂."""
RIDGE = 1e-3

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What is known of some images: labels and positions `[n]`, features now and before `[n, d]`, made white."""

    labels: Tensor
    indices: Tensor
    after: Tensor
    before: Tensor


class Pairs:
    """The pairs of one task.

    Args:
        features: of each class of the task, `[its images, d]`, as the network had them when the task began.
        first_class: the label of the first of them.
        device: to compute on.
    """

    def __init__(self, features: Sequence[Tensor], first_class: int, device: torch.device) -> None:
        covariances = [mean_and_covariance(own)[1] for own in features]
        wide = [widened(one, diagonal=WIDENED, off_diagonal=WIDENED) for one in covariances]
        whiten = [whitening(one + RIDGE * torch.eye(len(one), dtype=one.dtype)) for one in wide]
        self.whiten = torch.stack(whiten).float().to(device)
        self.first_class = first_class
        self._batch: _Seen | None = None

    @torch.no_grad()
    def look_at(self, parts: Sequence[Batch], *, after: Network, before: Network, width: int) -> None:
        """See the whole batch, where it is cut into several parts.

        Args:
            parts: the micro-batches of this process; there may be none.
            after: images to features, of the network that learns.
            before: the same of the network as it was.
            width: of the features.
        """
        self._batch = None
        if len(parts) == 1 and processes.shard()[1] == 1:
            return
        own = [self._seen(part, after(part.images).float(), before(part.images).float()) for part in parts]
        nothing = self.whiten.new_empty(0, width)
        none = torch.empty(0, dtype=torch.int64, device=self.whiten.device)
        self._batch = _Seen(
            labels=_together(none, [seen.labels for seen in own]),
            indices=_together(none, [seen.indices for seen in own]),
            after=_together(nothing, [seen.after for seen in own]),
            before=_together(nothing, [seen.before for seen in own]),
        )

    def change(self, part: Batch, after: Tensor, before: Tensor) -> Tensor:
        """Return the part's share of the penalty, a scalar.

        Args:
            part: a micro-batch of what was looked at last.
            after: its features `[n, d]` in the network that learns.
            before: the same in the network as it was.
        """
        rows = self._seen(part, after, before)
        others = self._batch or rows
        same = rows.labels[:, None] == others.labels
        pairs = same & (rows.indices[:, None] != others.indices)
        return distance_change(rows.after, rows.before, (others.after, others.before), pairs)

    def _seen(self, part: Batch, after: Tensor, before: Tensor) -> _Seen:
        with torch.autocast(after.device.type, enabled=False):
            classes = part.labels - self.first_class
            now, was = (whitened(own, classes, self.whiten) for own in (after, before))
        return _Seen(labels=part.labels, indices=part.indices, after=now, before=was)


def _together(nothing: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Return the rows of all parts of all processes, those of the first process first."""
    rows = torch.cat([nothing, *parts])
    rank, count = processes.shard()
    sizes = torch.zeros(count, dtype=torch.int64, device=rows.device)
    sizes[rank] = len(rows)
    first = int(processes.total(sizes)[:rank].sum())
    return processes.gathered(rows, torch.arange(first, first + len(rows), device=rows.device))
