"""Whether a difference between two methods is more than the luck of seeds and class orders.

The test is the exact sign-flip permutation test on paired differences (Fisher, 1935): two runs are a pair where seed
and class order are the same; were the methods equal, each difference could as well have the other sign. It assumes no
normal distribution, and it is honest about few seeds: n pairs cannot give a p below 2 / 2^n, which is 0.25 for three.
Several comparisons in one table are corrected after Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05
_EXACT_UP_TO = 14


@dataclass(frozen=True, kw_only=True)
class Versus:
    """One line of a table against the line it is compared with.

    Attributes:
        pairs: how many pairs of runs there were.
        difference: mean over the pairs of this line's accuracy minus the other's, a fraction; None without pairs.
        p: of the two-sided test, for this comparison alone; None with fewer than two pairs.
        p_corrected: after Holm, over the comparisons of the table.
        can_be_significant: whether so many pairs can reach the level at all, with so many comparisons.
    """

    pairs: int
    difference: float | None = None
    p: float | None = None
    p_corrected: float | None = None
    can_be_significant: bool = False

    @property
    def is_significant(self) -> bool:
        """Whether the difference is significant at the 5 % level after the correction."""
        return self.can_be_significant and self.p_corrected is not None and self.p_corrected <= LEVEL


def smallest_p(pairs: int) -> float:
    """Return the smallest p that the two-sided test can give with so many pairs: 2 / 2^n, at most 1."""
    return min(1.0, 2.0 ** (1 - pairs))


def pairs_needed(comparisons: int = 1) -> int:
    """Return how many pairs are needed for any of so many comparisons to be significant."""
    return math.ceil(math.log2(2 * max(comparisons, 1) / LEVEL))


def p_of(differences: Sequence[float]) -> float | None:
    """Return the p of the two-sided sign-flip test on paired differences; None with fewer than two.

    Exact up to 14 pairs; beyond, 2^14 flips drawn from a fixed seed.
    """
    if len(differences) < 2:  # noqa: PLR2004 one pair says nothing about spread
        return None
    if not any(differences):
        return 1.0
    import numpy as np
    from scipy.stats import permutation_test

    tested = permutation_test(
        (np.asarray(differences, dtype=np.float64),),
        np.mean,
        permutation_type="samples",
        n_resamples=2**_EXACT_UP_TO,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(tested.pvalue)


def against(differences: Sequence[Sequence[float]]) -> list[Versus]:
    """Test every line of a table against one and the same other line.

    Args:
        differences: for each line, its accuracy minus the other line's, one number a pair.
    """
    ps = [p_of(each) for each in differences]
    corrected = holm(ps)
    needed = pairs_needed(sum(p is not None for p in ps))
    return [
        Versus(
            pairs=len(each),
            difference=sum(each) / len(each) if each else None,
            p=p,
            p_corrected=q,
            can_be_significant=len(each) >= needed,
        )
        for each, p, q in zip(differences, ps, corrected, strict=True)
    ]


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return the p values corrected for their number by Holm's step-down method; None stays None."""
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    worst = 0.0
    for rank, (p, i) in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - rank) * p))
        corrected[i] = worst
    return corrected
