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


def shrunk(covariance: Tensor, n: int) -> Tensor:
    """Return a covariance pulled towards a multiple of the identity, the more the fewer rows it came from, in float64.

    The oracle approximating shrinkage of Chen et al. (IEEE TSP 2010, eq. 23) in the form that scikit-learn's `OAS`
    computes, which needs the covariance and the number of rows alone; scikit-learn itself asks for the rows.

    Args:
        covariance: `[d, d]`, symmetric.
        n: rows it was estimated from, less the means that were estimated from them too; less than 1 counts as 1.
    """
    exact = covariance.double()
    width = len(exact)
    variance = exact.diagonal().mean()
    mean_square = exact.square().mean()
    denominator = (max(n, 1) + 1) * (mean_square - variance.square() / width)
    share = ((mean_square + variance.square()) / denominator).clamp(max=1.0) if denominator > 0 else 1.0
    return (1 - share) * exact + share * variance * torch.eye(width, dtype=exact.dtype, device=exact.device)


def widened(covariance: Tensor, *, diagonal: float, off_diagonal: float) -> Tensor:
    """Return Σ + γ₁ v I + γ₂ o (1 1' - I), with v and o the mean entry of Σ on its diagonal and off it, in float64.

    The shrinkage of FeCAM (Goswami et al., NeurIPS 2023), for a covariance of few rows.

    Args:
        covariance: Σ `[d, d]`, symmetric.
        diagonal: γ₁, at least 0.
        off_diagonal: γ₂, 0 to γ₁: then the sum is positive semidefinite as Σ is.
    """
    exact = covariance.double()
    width, trace = len(exact), exact.trace()
    mean = (exact.sum() - trace) / max(1, width * (width - 1))
    found = exact + off_diagonal * mean
    found.diagonal().add_(diagonal * trace / width - off_diagonal * mean)
    return found


def whitening(covariance: Tensor) -> Tensor:
    """Return W `[d, d]` with W covariance W' = I, in float64: ‖W (a - b)‖ is the Mahalanobis distance of a and b.

    Directions in which nothing varies count as if their variance were 1e-6 of the largest. Of a covariance of zeros W
    is the identity, and the distance Euclidean.

    Args:
        covariance: `[d, d]`, symmetric but for rounding.
    """
    exact = covariance.double()
    values, vectors = torch.linalg.eigh((exact + exact.mT) / 2)
    if values[-1] <= 0:
        return torch.eye(len(exact), dtype=exact.dtype, device=exact.device)
    return (vectors / values.clamp(min=1e-6 * float(values[-1])).sqrt()).mT


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


def low_rank_and_rest(covariance: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return F `[d, rank]` and v `[d]`, at least 0, such that F F' + diag(v) has the diagonal of a covariance.

    F F' is its part in the `rank` largest directions; columns beyond its own rank are 0. In float64.

    Args:
        covariance: `[d, d]`, symmetric but for rounding.
        rank: at least 1; may be above d.
    """
    exact = covariance.double()
    values, vectors = torch.linalg.eigh((exact + exact.mT) / 2)
    kept = min(rank, len(exact))
    factor = exact.new_zeros(len(exact), rank)
    factor[:, :kept] = vectors[:, -kept:] * values[-kept:].clamp(min=0).sqrt()
    return factor, (exact.diagonal() - factor.square().sum(dim=1)).clamp(min=0)
