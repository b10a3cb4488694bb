"""What heads have in common that are computed and not learnt: no gradient reaches them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lorastream.heads.growing import GrowingHead


class ComputedHead(GrowingHead):
    """A head in closed form.

    Args:
        width: d, the number of features.

    Attributes:
        sizes: how many classes each task brought, less those forgotten.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.sizes: list[int] = []

    def learn(self, *, newest_only: bool) -> None:
        """Do nothing: no gradient reaches what is computed."""

    def _sizes(self) -> Sequence[int]:
        return self.sizes

    def _rows(self, rows: Tensor, since: int) -> Sequence[Tensor]:
        """Return `rows [classes, ...]` task by task, of the tasks from class `since` on."""
        return rows.split(self.sizes)[self._task(since) :]
