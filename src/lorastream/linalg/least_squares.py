"""Least squares among low-rank products, through products of their factors only."""

from __future__ import annotations

import torch
from torch import Tensor


def product_gram(up: Tensor, down: Tensor, block: Tensor, n_blocks: int) -> Tensor:
    """Return the inner products of products that lie side by side: G[k, l] = <U_k D_k, U_l D_l>.

    U_k are the columns of `up`, and D_k the rows of `down`, with `block == k`. Uses (U' U) * (D D'), summed by blocks:
    [R, R] products, never [m, n].

    Args:
        up: `[m, R]`.
        down: `[R, n]`.
        block: int64 `[R]`, from 0 to `n_blocks` - 1; a block without columns is a zero product.
        n_blocks: the number of products.

    Returns:
        `[n_blocks, n_blocks]`, in float64.
    """
    up, down = up.double(), down.double()
    inner = (up.mT @ up) * (down @ down.mT)
    by_row = inner.new_zeros(n_blocks, inner.shape[1]).index_add_(0, block, inner)
    return inner.new_zeros(n_blocks, n_blocks).index_add_(1, block, by_row)


def fit_last(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least-squares fit of the last vector by the others, from the inner products of all.

    β = argmin ‖v_t - sum β_k v_k‖² = G⁺ g, and the squared residual is ‖v_t‖² - g' G⁺ g (SD-LoRA, equation 7).

    Args:
        gram: `[t, t]`, the inner products of the vectors, t at least 1.

    Returns:
        β `[t - 1]`, of least norm where it is not unique, and the squared residual, at least 0.
    """
    cross, square = gram[:-1, -1], gram[-1, -1]
    coefficients = torch.linalg.pinv(gram[:-1, :-1], hermitian=True) @ cross
    return coefficients, torch.clamp(square - cross @ coefficients, min=0.0)
