"""Penalties on a low-rank update `up down`, as scalars to add to a loss, and the Fisher information that one needs.

`up` is `[out, r]` and `down` is `[r, in]`. Where a formula can be had from products of the factors, `up down` is not
formed; L1 and Fisher penalties weigh every entry of it by itself, so they form it.
"""

from __future__ import annotations

import torch
from torch import Tensor

NUMBERS_AT_ONCE = 2**24
"""How many numbers `squared_gradients` holds at once for the gradients of single images: 64 MiB in float32."""


def orthogonality_penalty(down: Tensor, past: Tensor, *, squared: bool = False) -> Tensor:
    """Return the sum of |past down'| over its entries: 0 where the update reads nothing that past updates read.

    O-LoRA (Wang et al., EMNLP 2023 Findings, arXiv 2310.14152), with the absolute values of its released code. Costs
    O(R r in).

    Args:
        down: `[r, in]`.
        past: `[R, in]`, the down factors of all past updates below each other; R may be 0.
        squared: sum the squares of the entries instead.

    Returns:
        A scalar, at least 0, differentiable in `down`.
    """
    overlaps = past @ down.mT
    return (overlaps.square() if squared else overlaps.abs()).sum()


def sparsity_penalty(up: Tensor, down: Tensor) -> Tensor:
    """Return ‖up down‖₁, the sum of the absolute entries of the product, which is formed.

    N-LoRA (Yang et al., COLING 2025, arXiv 2410.10179) as its paper states it; its released code takes the entries of
    the r x r product of the factors, which is not the update.

    Args:
        up: `[out, r]`.
        down: `[r, in]`.

    Returns:
        A scalar, at least 0, differentiable in both; where an entry is 0 its gradient is taken as 0.
    """
    return (up @ down).abs().sum()


def null_space_penalty(up: Tensor, down: Tensor, in_basis: Tensor, out_basis: Tensor) -> Tensor:
    """Return ‖down P‖² + ‖up' Q‖² (Frobenius): 0 where the update maps P to nothing and never moves along Q.

    CLoRA (Lu et al., ACL 2025, arXiv 2410.16801). Costs O(r k (in + out)).

    Args:
        up: `[out, r]`.
        down: `[r, in]`.
        in_basis: P `[in, k]`, with orthonormal columns.
        out_basis: Q `[out, k]`, likewise.

    Returns:
        A scalar, at least 0, differentiable in both factors.
    """
    return (down @ in_basis).square().sum() + (up.mT @ out_basis).square().sum()


def fisher_penalty(up: Tensor, down: Tensor, fisher: Tensor) -> Tensor:
    """Return ½ sum F (up down)² over the entries of the product, which is formed.

    EWC-LoRA (Zheng et al., ICLR 2026, arXiv 2602.17559): elastic weight consolidation of the weight that the update is
    added to, not of its factors.

    Args:
        up: `[out, r]`.
        down: `[r, in]`.
        fisher: F `[out, in]`, at least 0.

    Returns:
        A scalar, at least 0, differentiable in both factors.
    """
    return 0.5 * (fisher * (up @ down).square()).sum()


def random_basis(width: int, size: int, *, generator: torch.Generator) -> Tensor:
    """Return `[width, size]` with orthonormal columns that span a uniformly random subspace, in float64.

    Args:
        width: of the space.
        size: of the subspace, 1 to `width`.
        generator: a CPU generator.
    """
    gaussian = torch.randn(width, size, dtype=torch.float64, generator=generator)
    basis, triangle = torch.linalg.qr(gaussian)
    # Which sign a column gets is LAPACK's choice; with a positive diagonal the answer is unique.
    return basis * triangle.diagonal().sign()


def squared_gradients(inputs: Tensor, gradients: Tensor) -> Tensor:
    """Return `[out, in]`, the sum over images of the squared gradient of each image's loss by a linear layer's weight.

    An image's gradient is the sum over its tokens of g x', which is formed for some images at a time
    (`NUMBERS_AT_ONCE`). Divided by the number of images it is the diagonal of the empirical Fisher information.

    Args:
        inputs: x `[n, tokens, in]` of the layer.
        gradients: g `[n, tokens, out]`, each image's loss by the layer's output.
    """
    total = inputs.new_zeros(gradients.shape[-1], inputs.shape[-1])
    size = max(1, NUMBERS_AT_ONCE // max(1, total.numel()))
    for some_inputs, some_gradients in zip(inputs.split(size), gradients.split(size), strict=True):
        total += (some_gradients.mT @ some_inputs).square().sum(dim=0)
    return total
