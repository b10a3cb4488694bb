"""A class lies in the task whose sizes before it add up to no more than its label."""

from __future__ import annotations

import pytest

from lorastream.heads.places import place


@pytest.mark.parametrize(("label", "expected"), [(0, (0, 0)), (1, (0, 1)), (2, (2, 0)), (4, (2, 2)), (5, (3, 0))])
def test_tasks_without_classes_are_passed_over(label: int, expected: tuple[int, int]) -> None:
    assert place(label, [2, 0, 3, 1]) == expected


def test_beyond_the_last_class_there_is_none() -> None:
    with pytest.raises(IndexError):
        place(6, [2, 0, 3, 1])
