"""Gaussians of classes: estimated from features, and drawn from."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_and_covariance(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean `[d]` and the unbiased covariance `[d, d]` (sums over n - 1) of `rows [n, d]`, in float64.

    Of a single row the covariance is 0.

    Args:
        rows: n at least 1.
    """
    exact = rows.double()
    mean = exact.mean(dim=0)
    centred = exact - mean
    return mean, centred.mT @ centred / max(1, len(exact) - 1)


def square_root(covariance: Tensor, *, ridge: float = 0.0) -> Tensor:
    """Return R `[d, d]` with R R' = covariance + ridge I, in float64.

    The Cholesky factor where there is one; for a matrix that is not positive definite, by rounding or as there were
    fewer rows than dimensions, a root from its eigenvectors, negative eigenvalues taken as 0.

    Args:
        covariance: `[d, d]`, symmetric but for rounding.
        ridge: what is added to the diagonal, at least 0.
    """
    exact = covariance.double()
    exact = (exact + exact.mT) / 2
    exact.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(exact)
    if not failed:
        return factor
    values, vectors = torch.linalg.eigh(exact)
    return vectors * values.clamp(min=0).sqrt()


def draw(mean: Tensor, root: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
    """Return `[n, d]` rows from the Gaussian with this mean and the covariance root root', in the root's type.

    Args:
        mean: `[d]`.
        root: `[d, d]`, as of `square_root`.
        n: at least 0.
        generator: on the device of `root`.
    """
    noise = torch.randn(n, len(root), dtype=root.dtype, device=root.device, generator=generator)
    return torch.addmm(mean.to(root), noise, root.mT)
