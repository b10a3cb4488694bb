"""The kinds of statistics of classes, by name: begun, and taken from what was saved of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from lorastream.errors import of_stored_kind
from lorastream.heads.described import ClassStatistics
from lorastream.heads.diagonal_covariance import DiagonalCovariance
from lorastream.heads.full_covariance import FullCovariance, LedoitWolfCovariance, OASCovariance
from lorastream.heads.low_rank_covariance import LowRankCovariance
from lorastream.heads.shared_covariance import SharedCovariance

Covariance = Literal["full", "ledoit_wolf", "oas", "shared", "diagonal", "low_rank"]


STATISTICS: dict[Covariance, type[ClassStatistics]] = {
    "full": FullCovariance,
    "ledoit_wolf": LedoitWolfCovariance,
    "oas": OASCovariance,
    "shared": SharedCovariance,
    "diagonal": DiagonalCovariance,
    "low_rank": LowRankCovariance,
}


def new_statistics(covariance: Covariance, *, rank: int | None = None) -> ClassStatistics:
    """Return statistics of this kind, of no class yet; `rank` is of `low_rank` alone, 32 where it is None."""
    if covariance == "low_rank" and rank is not None:
        return LowRankCovariance.of_rank(rank)
    return STATISTICS[covariance]()


def load_statistics(tensors: Mapping[str, Tensor]) -> ClassStatistics:
    """Take what some statistics' `tensors` gave; their names say which kind it was.

    Raises:
        CheckpointError: statistics of a kind that is not known here.
    """
    return of_stored_kind(tensors, STATISTICS, what="the stored class statistics").of_tensors(tensors)
