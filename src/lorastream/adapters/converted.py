"""The factors of all tasks in the type that a network computes in: past ones are converted once, not at every step."""

from __future__ import annotations

import torch
from torch import Tensor


def product_type(kind: torch.dtype, own: torch.dtype) -> torch.dtype:
    """Return the type in which products of factors are taken where a network computes in `kind`.

    bfloat16 has the range of float32 and its own units, so there the factors are multiplied in it; sums are kept in
    float32 by the kernels. float16 has not: small factors would vanish.

    Args:
        kind: that the network computes in.
        own: that the factors have.
    """
    return kind if kind == torch.bfloat16 else own


class Converted:
    """Both stacks of an adapter in another type than their own.

    It is told of another stack by its identity alone: past columns are constants, and whoever changes them makes new
    stacks.
    """

    def __init__(self) -> None:
        self._given: tuple[Tensor, Tensor] | None = None
        self._made: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def of(self, kind: torch.dtype, up: Tensor, down: Tensor, *, live: int) -> tuple[Tensor, Tensor]:
        """Return `up [out, R]` and `down [R, in]` in a type; their own where it is theirs already.

        Args:
            kind: the type.
            up: of all tasks, side by side.
            down: of all tasks, one below the other.
            live: how many of the last columns may have changed since the last call.
        """
        if up.dtype == kind:
            return up, down
        known = self._given is not None and self._given[0] is up and self._given[1] is down
        if not known or self._made is None or self._made[0].dtype != kind:
            self._given, self._made = (up, down), (up.to(kind), down.to(kind))
        elif live:
            self._made[0][:, -live:].copy_(up[:, -live:])
            self._made[1][-live:].copy_(down[-live:])
        return self._made
