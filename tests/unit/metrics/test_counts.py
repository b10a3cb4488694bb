"""Counting by class: rows are the true classes, every image is counted once, a class without images has no accuracy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lorastream.metrics.counts import between_groups, confusion_matrix, most_confused, per_class_accuracy


def test_by_hand() -> None:
    confusion = confusion_matrix([0, 0, 0, 1, 3], [0, 0, 1, 0, 3], n_classes=4)
    assert confusion.tolist() == [[2, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert per_class_accuracy(confusion) == [2 / 3, 0.0, None, 1.0]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4))))
def test_every_image_is_counted_once(pairs: list[tuple[int, int]]) -> None:
    confusion = confusion_matrix([i for i, _ in pairs], [j for _, j in pairs], n_classes=5)
    assert confusion.sum() == len(pairs)
    assert confusion.trace() == sum(i == j for i, j in pairs)


def test_most_confused_pairs_come_worst_first_and_right_answers_are_none() -> None:
    confusion = np.array([[9, 2, 0], [0, 5, 0], [4, 2, 1]])
    assert most_confused(confusion, limit=2) == [(2, 0, 4), (0, 1, 2)]
    assert most_confused(confusion, limit=99) == [(2, 0, 4), (0, 1, 2), (2, 1, 2)]
    assert most_confused(np.diag([3, 3]), limit=5) == []
    assert confusion.trace() == 15


def test_groups_add_up_their_classes() -> None:
    counts = np.array([[6, 1, 3], [0, 10, 0], [2, 0, 8]])
    assert between_groups(counts, [range(2), range(2, 3)]).tolist() == [[17, 3], [2, 8]]
    assert between_groups(counts, [range(i, i + 1) for i in range(3)]).tolist() == counts.tolist()
