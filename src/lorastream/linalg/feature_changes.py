"""How far a network's features have moved, as scalars to add to a loss: patch tokens, and distances within a class.

Source: Wu et al., "Navigating Semantic Drift in Task-Agnostic Class-Incremental Learning" (MACIL), ICML 2025 (arXiv
2502.07560), as `models/losses.py` of its code computes them. Features are compared at unit length.

At its start a task's network is the one before it, and a change of the size of rounding has any direction: what is
below `ROUNDING` counts as no change, and has no gradient. (The code has no such bound.)
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDING = 1e-4
"""Of tokens the distance at unit length, of distances the change as a share of them."""


def patch_change(after: Tensor, before: Tensor, class_token: Tensor) -> Tensor:
    """Return the mean over images and patches of (φ / π) ‖a - b‖, with φ the angle of a patch token to the class token.

    A patch that is like the class token may move, one that is unlike it is held.

    Args:
        after: a `[n, patches, d]`, of the network that learns; at unit length in the formula, as b is.
        before: b `[n, patches, d]`, of the network as it was.
        class_token: `[n, d]`, of the network that learns.

    Returns:
        A scalar, at least 0, differentiable in `after` but for φ.
    """
    cosines = F.cosine_similarity(class_token.detach()[:, None], after.detach(), dim=-1)
    weights = cosines.clamp(-1, 1).acos() / math.pi
    moved = torch.linalg.vector_norm(F.normalize(after, dim=-1) - F.normalize(before, dim=-1), dim=-1)
    return (weights * moved * (moved > ROUNDING)).mean()


def whitened(features: Tensor, classes: Tensor, whiten: Tensor) -> Tensor:
    """Return `[n, d]`: each row at unit length, times the matrix of its class.

    Two of one class then stand apart by the Mahalanobis distance that the matrix stands for.

    Args:
        features: `[n, d]`.
        classes: `[n]`, 0 to C - 1.
        whiten: `[C, d, d]`.
    """
    by_class = F.normalize(features, dim=1) @ whiten.mT
    return by_class[classes, torch.arange(len(features), device=features.device)]


def distance_change(after: Tensor, before: Tensor, others: tuple[Tensor, Tensor], pairs: Tensor) -> Tensor:
    """Return the sum over pairs of |‖a_i - a_j‖ - ‖b_i - b_j‖|, by the number of rows: half of it belongs to each row.

    Summed over the parts of a batch, value and gradient are those of the whole one, however it was cut: a row's
    partners are constants here, and get their own part of the gradient where they are rows.

    Args:
        after: a `[n, d]`, of the network that learns; n at least 1.
        before: b `[n, d]`, of the network as it was.
        others: a and b `[N, d]` of the whole batch.
        pairs: bool `[n, N]`, which of them make a pair; never a row with itself.

    Returns:
        A scalar, at least 0, differentiable in `after`.
    """
    apart, were = (
        torch.cdist(rows, partners.detach(), compute_mode="donot_use_mm_for_euclid_dist")
        for rows, partners in zip((after, before), others, strict=True)
    )
    changed = (apart - were).abs()
    found = (changed * (pairs & (changed > ROUNDING * were))).sum() / len(after)
    return found - 0.5 * found.detach()
