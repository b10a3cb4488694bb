"""The ranks of a low-rank product by the energy that they give its outputs, and the directions that no rank uses.

With up U `[m, r]`, down D `[r, n]` and the second moment C `[n, n]` of the inputs x, the outputs U D x have the second
moment U (D C D') U'. With U = Q R (Q orthonormal) its eigenvectors are Q V, those of the small R D C D' R' = V Λ V', so

    U D = (Q V) (V' R D)

has orthonormal columns on the left, and its rank i gives the outputs the energy λ_i, falling. Without C the inputs are
white, and λ_i are the squared singular values of U D. Nothing of the size `[m, m]` or `[m, n]` is formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lorastream.linalg.signs import signed

ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Ordered:
    """A product whose ranks fall in energy; float64.

    Attributes:
        up: `[m, r]` with orthonormal columns.
        down: `[r, n]`.
        energies: `[r]`, at least 0, falling.
    """

    up: Tensor
    down: Tensor
    energies: Tensor


def order_by_energy(up: Tensor, down: Tensor, moment: Tensor | None = None) -> Ordered:
    """Return the same product with its ranks in order of energy.

    Args:
        up: `[m, r]`, r at most m.
        down: `[r, n]`.
        moment: `[n, n]`, of the inputs; None: they are white.
    """
    basis, triangle = torch.linalg.qr(up.double())
    inside = triangle @ down.double()
    weighed = inside if moment is None else inside @ moment.double()
    rising, vectors = torch.linalg.eigh(weighed @ inside.mT)
    ordered = signed(basis @ vectors.flip(-1))
    return Ordered(up=ordered, down=ordered.mT @ basis @ inside, energies=rising.flip(-1).clamp(min=0))


def share_before(energies: Tensor) -> Tensor:
    """Return `[r]`: of falling energies, the share that those before each hold together.

    Taken from the end, so that shares close to 1 are exact. Where there is no energy at all it is 1 for every rank.
    """
    total = energies.sum().clamp(min=torch.finfo(energies.dtype).tiny)
    from_here_on = energies.flip(0).cumsum(dim=0).flip(0) / total
    return (1 - from_here_on).clamp(min=0)


def kept_by_energy(before: Tensor, share: float, *, at_most: int) -> Tensor:
    """Return which ranks are kept, bool `[R]`: of each update as few as hold the share of its energy together.

    Where that is too many, the share is lowered for all updates until it is not.

    Args:
        before: `[R]`, `share_before` of every update, one update after another.
        share: above 0, at most 1.
        at_most: how many ranks may be kept. Where not even the first rank of every update may be, the latest are.
    """
    last_first = torch.argsort(before.flip(0), stable=True)
    kept = torch.zeros_like(before, dtype=torch.bool)
    kept[len(before) - 1 - last_first[:at_most]] = True
    return kept & (before < share - ROUNDING)


def strongest_directions(moment: Tensor, share: float) -> Tensor:
    """Return `[n, k]`, float64: the fewest eigenvectors of a second moment `[n, n]` that hold a share of its trace.

    Args:
        moment: symmetric, positive semidefinite.
        share: above 0, at most 1; at least one direction is returned.
    """
    rising, vectors = torch.linalg.eigh(moment.double())
    energies = rising.flip(-1).clamp(min=0)
    kept = kept_by_energy(share_before(energies), share, at_most=len(energies))
    return vectors.flip(-1)[:, : max(1, int(kept.sum()))]


def further_directions(known: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
    """Return `[m, count]`, float64: random directions, orthonormal among themselves and to the known.

    Args:
        known: `[m, k]`, of full rank; k + count at most m.
        count: at least 0.
        generator: a CPU generator.
    """
    drawn = torch.randn(len(known), count, generator=generator, dtype=torch.float64).to(known.device)
    basis, _ = torch.linalg.qr(torch.cat([known.double(), drawn], dim=1))
    return basis[:, known.shape[1] :]
