"""Ridge regression from sums: what is needed of the rows is their second moment and their products with the targets."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 20
"""How often the penalty is raised tenfold before a system is given up."""


def ridge_solve(gram: Tensor, cross: Tensor, penalty: float) -> tuple[Tensor, float]:
    """Return W `[d, k]` with (gram + penalty I) W = cross, and the penalty that it was solved with.

    Where the system is not positive definite, as a singular one is by rounding, the penalty is raised tenfold until it
    is, beginning at the rounding of its largest entry.

    Args:
        gram: `[d, d]`, symmetric, float64 for many rows.
        cross: `[d, k]`.
        penalty: at least 0.

    Raises:
        ArithmeticError: it is not finite.
    """
    smallest = torch.finfo(gram.dtype).eps * (float(gram.diagonal().amax()) or 1.0)
    for _ in range(STEPS):
        system = gram.clone()
        system.diagonal().add_(penalty)
        factor, failed = torch.linalg.cholesky_ex(system)
        if not failed:
            return torch.cholesky_solve(cross, factor), penalty
        penalty = max(10 * penalty, smallest)
    message = "a ridge system that no penalty makes positive definite"
    raise ArithmeticError(message)


def ridge_map(rows: Tensor, targets: Tensor, *, ridge: float) -> Tensor:
    """Return B `[k, d]` = argmin sum ‖B x_i - y_i‖² + ridge ‖B‖².

    Args:
        rows: x `[n, d]`.
        targets: y `[n, k]`.
        ridge: at least 0; raised where it does not do.
    """
    return ridge_solve(rows.mT @ rows, rows.mT @ targets, ridge)[0].mT
