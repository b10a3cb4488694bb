"""What all heads have in common: they answer for every class seen so far, and grow by the classes of each task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from torch import Tensor, nn

from lorastream.heads.places import place


class GrowingHead(nn.Module):
    """Logits over all classes seen so far.

    Args:
        width: d, the number of features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    @property
    def n_classes(self) -> int:
        """The number of classes seen so far."""
        return sum(self._sizes())

    @property
    def margin(self) -> float:
        """What a loss takes off the logit of an image's own class, at least 0."""
        return 0.0

    def empty(self) -> Self:
        """Return a head of the same kind and options without a class."""
        return type(self)(self.width)

    def forward(self, features: Tensor, *, since: int = 0, learning: bool = False) -> Tensor:
        """Return logits `[n, classes seen]` of `features [n, d]`; those of old rows do not change by a bit as it grows.

        One product for each task: a product with more rows may round its first ones otherwise. With `since`, of the
        tasks from that class on: what a step costs then does not grow with the tasks. With `learning`, as the loss is
        to see them; a head that learns by other logits than it answers with says so.
        """
        raise NotImplementedError

    def _sizes(self) -> Iterable[int]:
        """Return how many classes of each task the head answers for."""
        raise NotImplementedError

    def _place(self, label: int) -> tuple[int, int]:
        """Return the task of a class, and its position there."""
        return place(label, self._sizes())

    def _task(self, since: int) -> int:
        """Return the task of a class; of class 0 the first, also where it has no class left."""
        return self._place(since)[0] if since else 0
