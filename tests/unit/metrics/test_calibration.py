"""Calibration error and AUROC are those of scikit-learn or of a sum by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lorastream.metrics.calibration import Reliability, auroc, expected_calibration_error, reliability, upper_quantile

SCORES = st.lists(st.integers(-3, 3), min_size=1, max_size=20)


def test_the_error_by_hand() -> None:
    """Two bins: below a half claims 0.4 and 0.2, one right; above claims 0.9 three times, two right."""
    claimed, right = [0.4, 0.2, 0.9, 0.9, 0.9], [True, False, True, True, False]
    found = reliability(claimed, right, bins=2)
    assert found.images == (2, 3)
    assert found.confidence == pytest.approx((0.3, 0.9))
    assert found.accuracy == pytest.approx((0.5, 2 / 3))
    assert found.error == pytest.approx(2 / 5 * 0.2 + 3 / 5 * (0.9 - 2 / 3))


def test_bins_end_with_their_upper_bound() -> None:
    images = reliability([0.0, 1 / 15, 1 / 15 + 1e-6, 1.0], [True] * 4).images
    assert (images[0], images[1], images[14], len(images)) == (2, 1, 1, 15)


def test_without_images_there_is_no_error() -> None:
    assert expected_calibration_error([], []) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_the_error_is_a_share_and_nothing_where_all_is_sure_and_right(pairs: list[tuple[float, bool]]) -> None:
    claimed, right = zip(*pairs, strict=True)
    error = expected_calibration_error(claimed, right)
    assert error is not None
    assert 0 <= error <= 1
    assert expected_calibration_error([1.0] * len(pairs), [True] * len(pairs)) == 0


@given(SCORES, SCORES)
def test_the_area_is_that_of_scikit_learn_ties_included(known: list[int], unknown: list[int]) -> None:
    expected = roc_auc_score([0] * len(known) + [1] * len(unknown), known + unknown)
    assert auroc(known, unknown) == pytest.approx(expected)


def test_the_area_of_nothing_is_none() -> None:
    assert auroc([], [1.0]) is None
    assert auroc([1.0], []) is None


@given(SCORES, st.floats(0.01, 1))
def test_a_quantile_keeps_at_least_the_share_and_no_smaller_value_does(values: list[int], share: float) -> None:
    found = upper_quantile(values, share)
    kept = np.array(values) <= found
    assert kept.mean() >= share - 1e-9
    assert (np.array(values) < found).mean() < share


def test_a_quantile_by_weight() -> None:
    assert upper_quantile([3.0, 1.0, 2.0], 0.5, weights=[1.0, 1.0, 8.0]) == 2.0
    assert upper_quantile([3.0, 1.0, 2.0], 0.95, weights=[1.0, 1.0, 8.0]) == 3.0


def test_sums_over_parts_give_what_the_whole_gives() -> None:
    found = Reliability.of_sums([2, 0, 3], [0.6, 0.0, 2.7], [1, 0, 2])
    assert found.images == (2, 0, 3)
    assert found.confidence == pytest.approx((0.3, None, 0.9))
    assert found.accuracy == pytest.approx((0.5, None, 2 / 3))
