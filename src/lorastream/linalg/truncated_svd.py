"""The singular value decomposition of rows that arrive in turn, of which only the largest part is kept."""

from __future__ import annotations

import torch
from torch import Tensor


def append_rows(values: Tensor, directions: Tensor, rows: Tensor, *, kept: int) -> tuple[Tensor, Tensor]:
    """Return the largest singular values, and their directions, of old rows with new ones below them.

    The old rows are known by S V' alone, which has their products: the left factor is not needed. Values that are 0 but
    for rounding are left out.

    Args:
        values: S `[k]` of the old rows, falling; k may be 0.
        directions: V' `[k, M]`, orthonormal.
        rows: `[n, M]`.
        kept: how many to keep at most, at least 1.

    Returns:
        The new S `[k']`, falling and above 0, and V' `[k', M]`.
    """
    stacked = torch.cat([values[:, None] * directions, rows])
    _, found, right = torch.linalg.svd(stacked, full_matrices=False)
    smallest = torch.finfo(found.dtype).eps * max(stacked.shape) * float(found[0])
    rank = min(kept, int((found > smallest).sum()))
    return found[:rank], right[:rank]


def least_squares(values: Tensor, directions: Tensor, cross: Tensor) -> Tensor:
    """Return W `[M, c]` = V S⁻² V' cross: the least-squares map of least norm of rows H = U S V' to targets.

    Args:
        values: S `[k]`, above 0.
        directions: V' `[k, M]`.
        cross: H' targets `[M, c]`.
    """
    return directions.mT @ ((directions @ cross) / values.square()[:, None])
