"""The updates of a network as directions: their norms, and the newest one fitted by those before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lorastream.adapters.attach import Adapters
from lorastream.adapters.low_rank import Adapter
from lorastream.linalg.least_squares import fit_last, product_gram
from lorastream.linalg.norms import factor_norms, product_norm

Norm = Literal["product", "exact", "none"]
"""What an update is divided by to be a direction: ‖up‖‖down‖, ‖up down‖, or 1."""

Residual = Literal["fro", "fro2", "rms", "mse"]
"""How a residual is measured: Frobenius norm, its square, root mean square or mean square of the entries."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The newest direction fitted by those before it: D_t ~ sum β_k D_k.

    Attributes:
        coefficients: β `[updates - 1]`, float64.
        squared: the squared Frobenius norm of the residual.
        entries: the number of entries of the residual.
    """

    coefficients: Tensor
    squared: float
    entries: int

    @property
    def readings(self) -> dict[Residual, float]:
        """The residual under every reading."""
        mean = self.squared / self.entries
        return {"fro": math.sqrt(self.squared), "fro2": self.squared, "rms": math.sqrt(mean), "mse": mean}


def norm_of(up: Tensor, down: Tensor, norm: Norm) -> Tensor:
    """Return what an update is divided by, a scalar above 0: 1 for one that is zero and has no direction."""
    if norm == "none":
        return up.new_ones(())
    value = factor_norms(up, down) if norm == "product" else product_norm(up, down)
    return torch.where(value > 0, value, torch.ones_like(value))


def direction_norms(adapter: Adapter, norm: Norm) -> Tensor:
    """Return `[updates]`: what each update of an adapter is divided by."""
    return torch.stack([norm_of(up, down, norm) for up, down in adapter.factors()])


def fit_newest(adapters: Adapters, *, jointly: bool) -> dict[Norm, list[Fit]]:
    """Fit the newest direction of every projection by the older ones, when none is live.

    Args:
        adapters: with at least one update each.
        jointly: one fit for all projections together, as if their directions were one long vector; else one for each.

    Returns:
        For each norm that the directions may be divided by, and each projection, its fit; the same one for all
        projections where they were fitted jointly.
    """
    grams = [product_gram(a.up_stack, a.down_stack, a.update_of_column(), len(a.ranks)) for a in adapters]
    entries = [adapter.in_features * adapter.out_features for adapter in adapters]
    found: dict[Norm, list[Fit]] = {}
    for norm in get_args(Norm):
        norms = [direction_norms(adapter, norm).double() for adapter in adapters]
        scaled = [gram / (n[:, None] * n) for gram, n in zip(grams, norms, strict=True)]
        if jointly:
            found[norm] = [_fit(torch.stack(scaled).sum(dim=0), sum(entries))] * len(grams)
        else:
            found[norm] = [_fit(gram, n) for gram, n in zip(scaled, entries, strict=True)]
    return found


def _fit(gram: Tensor, entries: int) -> Fit:
    coefficients, squared = fit_last(gram)
    return Fit(coefficients=coefficients, squared=squared.item(), entries=entries)
