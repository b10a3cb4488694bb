"""Whom a query chooses: cosines to keys, weights of attended components, and new directions for both.

All of it is computed in float32 at least, also under autocast: two keys that are nearly alike must not be told apart by
rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cosines(queries: Tensor, keys: Tensor) -> Tensor:
    """Return `[n, keys]`, the cosines of queries `[n, d]` and keys `[keys, d]`."""
    with torch.autocast(queries.device.type, enabled=False):
        return F.normalize(_exact(queries), dim=1) @ F.normalize(_exact(keys), dim=1).mT


def attended_weights(queries: Tensor, attentions: Tensor, keys: Tensor) -> Tensor:
    """Return `[b, n, m]`, the weights of m components in each of b blocks: cos(q * a_m, k_m), as CODA-Prompt has them.

    As the sum of q_i a_mi k_mi / |k_m| over the root of the sum of q_i² a_mi²: two products of matrices, where the
    attended query itself would be `[b, n, m, d]`.

    Args:
        queries: q, `[n, d]`.
        attentions: a, `[b, m, d]`.
        keys: k, `[b, m, d]`.
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries, attentions = F.normalize(_exact(queries), dim=1), _exact(attentions)
        products = queries @ (attentions * F.normalize(_exact(keys), dim=2)).mT
        squares = queries.square() @ attentions.square().mT
        return products / squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt()


def new_directions(past: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
    """Return `[n, d]`, unit rows at right angles to one another and to the rows of `past [m, d]`, drawn at random.

    Where fewer than n directions are left free, the other rows are drawn without regard to those before.
    """
    width = past.shape[1]
    drawn = torch.randn(n, width, dtype=torch.float64, generator=generator)
    free = max(0, min(n, width - len(past)))
    known = past.detach().to("cpu", torch.float64)
    basis = torch.linalg.qr(torch.cat([known, drawn[:free]]).mT).Q if free else drawn[:0].mT
    apart = basis[:, len(known) : len(known) + free].mT
    return torch.cat([apart, F.normalize(drawn[free:], dim=1)]).to(past)


def _exact(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
