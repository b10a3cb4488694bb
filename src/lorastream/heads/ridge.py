"""Ridge regression on random features: a classifier in closed form, exact whatever the order of the classes.

Source: RanPAC (McDonnell et al., NeurIPS 2023, section 4.3; released code RanPAC/RanPAC). Formula, with h and C as in
`heads.random_features`:

    G = sum h h',    W = (G + λ I)⁻¹ C

Sums are over the images of all tasks, so W is that of all images at once as long as the features do not change. λ is
chosen anew at each task among 10⁻⁸ to 10⁸, by the squared error on a fifth of the new images that the sums leave out
meanwhile. Where no class has an image to spare the last λ stays.

What differs: the source tries all 17, here the search goes from the last λ (1 at first) by tens for as long as the
error falls. A system that is not positive definite is solved with the next larger λ that makes it so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.heads.random_features import RandomFeatureHead
from lorastream.linalg.ridge import ridge_solve

PENALTIES = tuple(10.0**power for power in range(-8, 9))
_HELD_OUT = 5  # one image in so many


class RidgeHead(RandomFeatureHead):
    """Logits by ridge regression on random features; nothing of it learns by gradients.

    Args:
        width: d, the number of features.

    Attributes:
        gram: G `[M, M]`, float32.
        penalty: λ of the last task.
    """

    gram: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.penalty = 1.0
        self.register_buffer("gram", torch.empty(0, 0))

    def tensors(self) -> dict[str, Tensor]:
        """Return `projection`, `gram`, `cross`, `ridge_weight` and `penalty [1]`, for saving."""
        penalty = torch.tensor([self.penalty], dtype=torch.float64)
        return {**super().tensors(), "gram": self.gram.clone(), "penalty": penalty}

    def load_tensors(self, tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        super().load_tensors(tensors, sizes)
        self.gram, self.penalty = tensors["gram"].clone(), float(tensors["penalty"])

    def _begin_sums(self) -> None:
        n_features = self.projection.shape[1]
        self.gram = self.projection.new_zeros(n_features, n_features)

    def _solved(self, rows: Sequence[Tensor], first_class: int) -> Tensor:
        kept = [torch.arange(len(own)) % _HELD_OUT != _HELD_OUT - 1 for own in rows]
        gram, cross = self.gram.double(), self.cross.double()
        held = [own[~mask] for own, mask in zip(rows, kept, strict=True)]
        parts = self._sums([own[mask] for own, mask in zip(rows, kept, strict=True)], first_class)
        if sum(map(len, held)):
            self.penalty = self._best_penalty(gram + parts[0], cross + parts[1], held, first_class)
        whole = self._sums(held, first_class)
        self.gram, self.cross = (gram + parts[0] + whole[0]).float(), (cross + parts[1] + whole[1]).float()
        weight, self.penalty = ridge_solve(self.gram.double(), self.cross.double().mT, self.penalty)
        return weight.mT

    def _sums(self, rows: Sequence[Tensor], first_class: int) -> tuple[Tensor, Tensor]:
        """Return what random features `[n, M]` of each class from `first_class` on add to G and C', in float64."""
        every = torch.cat(list(rows)).double()
        return every.mT @ every, self._cross_of(rows, first_class)

    def _best_penalty(self, gram: Tensor, cross: Tensor, held: Sequence[Tensor], first_class: int) -> float:
        rows = torch.cat(list(held)).double()
        labels = torch.arange(len(held)).repeat_interleave(torch.tensor([len(own) for own in held])) + first_class
        targets = F.one_hot(labels.to(rows.device), self.n_classes).to(rows)

        @cache
        def error(place: int) -> float:
            weight, _ = ridge_solve(gram, cross.mT, PENALTIES[place])
            return float((rows @ weight - targets).square().mean())

        best = PENALTIES.index(self.penalty) if self.penalty in PENALTIES else len(PENALTIES) // 2
        while True:
            near = range(max(0, best - 1), min(len(PENALTIES), best + 2))
            better = min(near, key=error)
            if error(better) >= error(best):
                return PENALTIES[best]
            best = better
