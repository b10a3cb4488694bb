"""The test is exact, and claims nothing that so few seeds cannot show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.reports.comparison.significance import against, holm, p_of, pairs_needed, smallest_p


@pytest.mark.parametrize("pairs", [2, 3, 5, 8])
def test_differences_of_one_sign_give_the_smallest_p_that_there_is(pairs: int) -> None:
    assert (
        p_of([0.1 + i / 100 for i in range(pairs)]) == pytest.approx(smallest_p(pairs)) == pytest.approx(2 / 2**pairs)
    )


def test_by_hand() -> None:
    # Signs of (1, 2, -4): |sum| >= |-1| in all eight but none less extreme: sums are +-7, +-5, +-3, +-1.
    assert p_of([1, 2, -4]) == pytest.approx(1.0)
    # (1, 2, 4): the sum 7 is reached by one of eight, -7 by another.
    assert p_of([1, 2, 4]) == pytest.approx(0.25)
    assert p_of([0.0, 0.0]) == 1.0
    assert p_of([0.3]) is None


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=6))
def test_who_is_compared_with_whom_makes_no_difference(differences: list[int]) -> None:
    assert p_of(differences) == pytest.approx(p_of([-d for d in differences]))


def test_how_many_seeds_are_needed() -> None:
    assert [pairs_needed(n) for n in (1, 2, 16)] == [6, 7, 10]
    assert all(n * smallest_p(pairs_needed(n)) <= 0.05 < n * smallest_p(pairs_needed(n) - 1) for n in range(1, 40))


def test_holm_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([]) == []


def test_three_seeds_claim_nothing_six_may() -> None:
    (three,) = against([[0.3, 0.3, 0.3]])
    assert (three.pairs, three.is_significant, three.can_be_significant) == (3, False, False)
    (six,) = against([[0.3] * 6])
    assert (six.p, six.is_significant) == (pytest.approx(1 / 32), True)
    (mixed,) = against([[0.3, 0.3, 0.3, -0.3, -0.3, -0.3]])
    assert mixed.can_be_significant
    assert not mixed.is_significant
    first, second = against([[0.3] * 6, [0.3] * 6])
    assert not first.is_significant, "two comparisons need seven"
    assert not second.can_be_significant


def test_no_pairs() -> None:
    (none,) = against([[]])
    assert (none.pairs, none.difference, none.p, none.is_significant) == (0, None, None, False)
