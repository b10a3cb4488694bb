"""The smallest pair of factors of a sum of low-rank updates."""

from __future__ import annotations

import torch
from torch import Tensor

from lorastream.adapters import AdaptedLinear

ROUNDING = 2.0**-23
"""What float32 resolves beside 1; singular values below it, relative to the largest, are rounding."""


def stacked(layer: AdaptedLinear) -> tuple[Tensor, Tensor]:
    """Return `up [out, R]` and `down [R, in]`, float64, whose product is all that a layer's adapters add to its weight.

    An adapter that moves a part of the rows, such as the query of a fused qkv weight, has zeros in the others.
    """
    ups: list[Tensor] = [torch.zeros(layer.out_features, 0, dtype=torch.float64)]
    downs: list[Tensor] = [torch.zeros(0, layer.in_features, dtype=torch.float64)]
    for rows, adapter in layer.parts():
        pairs = list(adapter.factors())
        up = torch.cat([adapter.up_stack[:, :0], *(up for up, _ in pairs)], dim=1) * adapter.column_scale().detach()
        down = torch.cat([adapter.down_stack[:0], *(down for _, down in pairs)])
        if len(adapter.folded):  # dense already: its rows are the factor, and the identity the other
            up, down = torch.cat([up, adapter.folded], dim=1), torch.cat([down, torch.eye(layer.in_features).to(down)])
        whole = torch.zeros(layer.out_features, up.shape[1], dtype=torch.float64)
        whole[rows.slice] = up.detach().cpu().double()
        ups.append(whole)
        downs.append(down.detach().cpu().double())
    return torch.cat(ups, dim=1), torch.cat(downs)


def smallest_factors(up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Return factors `up' [out, r]` and `down' [r, in]` with the same product and the smallest rank r, to float32.

    With up = Q₁R₁ and down' = Q₂R₂, the singular values of R₁R₂' are those of the product. Those below float32's
    resolution are dropped; their roots are shared between both factors.

    Args:
        up: `[out, R]`, float64.
        down: `[R, in]`, float64.
    """
    left, inner_left = torch.linalg.qr(up)
    right, inner_right = torch.linalg.qr(down.mT)
    u, values, vh = torch.linalg.svd(inner_left @ inner_right.mT, full_matrices=False)
    rank = int((values > ROUNDING * values[:1]).sum()) if values.numel() else 0
    roots = values[:rank].sqrt()
    return (left @ u[:, :rank]) * roots, roots[:, None] * (vh[:rank] @ right.mT)
