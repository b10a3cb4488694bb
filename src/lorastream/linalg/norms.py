"""Frobenius norms and inner products of low-rank products, without forming the product."""

from __future__ import annotations

import torch
from torch import Tensor


def product_inner(up: Tensor, down: Tensor, other_up: Tensor, other_down: Tensor) -> Tensor:
    """Return the Frobenius inner product <up down, other_up other_down> through r x r products only.

    Uses tr((up' other_up)(other_down down')), which costs O((m + n) r²) where the dense product costs O(m n r).

    Args:
        up: `[m, r]`.
        down: `[r, n]`.
        other_up: `[m, q]`.
        other_down: `[q, n]`.

    Returns:
        A scalar, differentiable in all four.
    """
    return ((up.mT @ other_up) * (down @ other_down.mT)).sum()


def product_norm(up: Tensor, down: Tensor) -> Tensor:
    """Return ‖up down‖_F of `up [m, r]` and `down [r, n]` as a scalar, at least 0, differentiable where it is not 0."""
    return torch.sqrt(torch.clamp(product_inner(up, down, up, down), min=0.0))


def factor_norms(up: Tensor, down: Tensor) -> Tensor:
    """Return ‖up‖_F ‖down‖_F of `up [m, r]` and `down [r, n]`: an upper bound of ‖up down‖_F."""
    return torch.linalg.norm(up) * torch.linalg.norm(down)
