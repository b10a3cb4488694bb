"""Least squares on random features through a truncated singular value decomposition that goes on from task to task.

Source: LoRanPAC, also ICL-TSVD (Peng et al., ICLR 2025, arXiv 2410.00645; released code liangzu/loranpac). Formula,
with h and C as in `heads.random_features` and H the rows h of all images one below the other:

    H ~ U S V',  the k largest singular values alone,    W = V S⁻² V' C,    k = (1 - ζ) · images so far, at most K

There is no penalty to choose: what would need one, the small singular values of a Gram matrix that grows worse with
every task, is left out. V and S are those of the old S V' with the new rows below: without truncation they are exactly
those of all images at once, and with it what was left out once stays out. C is the sum over all images.

What differs: the source has M up to 100,000, ζ = 0.25 and K = 10,000. A k beyond what the rows span is cut to their
numerical rank, where the source would divide by rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lorastream.heads.random_features import RandomFeatureHead
from lorastream.linalg.truncated_svd import append_rows, least_squares

TRUNCATION = 0.25
MAX_RANK = 10_000


class TruncatedHead(RandomFeatureHead):
    """Logits by truncated least squares on random features; nothing of it learns by gradients.

    Args:
        width: d, the number of features.

    Attributes:
        values: S `[k]`, float64, falling.
        directions: V' `[k, M]`, float32.
        images: how many were taken in.
        truncation: ζ, from 0 to below 1.
        max_rank: K, at least 1.
    """

    values: Tensor
    directions: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.images, self.truncation, self.max_rank = 0, TRUNCATION, MAX_RANK
        self.register_buffer("values", torch.empty(0, dtype=torch.float64))
        self.register_buffer("directions", torch.empty(0, 0))

    def tensors(self) -> dict[str, Tensor]:
        """Return `projection`, `cross`, `ridge_weight`, `singular_values`, `directions` and `images [1]`."""
        images = torch.tensor([self.images], dtype=torch.int64)
        factors = {"singular_values": self.values.clone(), "directions": self.directions.clone()}
        return {**super().tensors(), **factors, "images": images}

    def load_tensors(self, tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        super().load_tensors(tensors, sizes)
        self.values, self.directions = tensors["singular_values"].clone(), tensors["directions"].clone()
        self.images = int(tensors["images"])

    def _begin_sums(self) -> None:
        self.images, self.values = 0, self.values[:0]
        self.directions = self.projection.new_empty(0, self.projection.shape[1])

    def _solved(self, rows: Sequence[Tensor], first_class: int) -> Tensor:
        new = torch.cat(list(rows)).double()
        self.images += len(new)
        kept = min(self.max_rank, max(1, round((1 - self.truncation) * self.images)))
        self.values, directions = append_rows(self.values.to(new), self.directions.double(), new, kept=kept)
        self.directions = directions.float()
        self.cross = (self.cross.double() + self._cross_of(rows, first_class)).float()
        return least_squares(self.values, self.directions.double(), self.cross.double().mT).mT
