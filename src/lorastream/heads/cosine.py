"""A classifier on angles: every class has a direction; the formula is in `heads.angles`."""

from __future__ import annotations

from torch import Tensor

from lorastream.heads.angles import AngularHead


class CosineHead(AngularHead):
    """Logits `s cos(f, w)` over all classes seen so far; saved as `weight [classes, d]` and `cosine [2]`."""

    stored_as = "cosine"

    def forward(self, features: Tensor, *, since: int = 0, learning: bool = False) -> Tensor:
        """Return logits `[n, classes seen]` in [-s, s] of `features [n, d]`; see `GrowingHead.forward`."""
        del learning
        return self.cosines(features, since=since)
