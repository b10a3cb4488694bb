"""Every class is in one task at most, in the order of the published code, and what does not fit is explained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.data.split import StreamConfig, deal_classes
from lorastream.errors import DataError

TEN = tuple("abcdefghij")


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=8), spare=st.integers(0, 5), seed=st.integers(0, 2**32 - 1)
)
def test_each_class_arrives_once_at_most_and_tasks_have_their_sizes(sizes: list[int], spare: int, seed: int) -> None:
    names = [f"class {i}" for i in range(sum(sizes) + spare)]
    for order in ("seed", "natural"):
        dealt = deal_classes(names, StreamConfig(sizes=tuple(sizes), order=order), seed=seed)
        assert [len(task) for task in dealt] == sizes
        arrived = [label for task in dealt for label in task]
        assert len(set(arrived)) == len(arrived)
        assert set(arrived) <= set(range(len(names)))
        if not spare:
            assert sorted(arrived) == list(range(len(names)))


def test_the_order_is_that_of_the_published_code() -> None:
    names = [f"class {i}" for i in range(100)]
    dealt = deal_classes(names, StreamConfig(tasks=10), seed=1993)
    assert dealt[0] == [68, 56, 78, 8, 23, 84, 90, 65, 74, 76]
    assert dealt[1][:2] == [40, 89]
    assert deal_classes(names, StreamConfig(tasks=10, order="natural"), seed=1993)[0] == list(range(10))


def test_sizes_need_not_use_all_classes() -> None:
    assert deal_classes(TEN, StreamConfig(sizes=(3, 1), order="natural"), seed=0) == [[0, 1, 2], [3]]


def test_classes_by_name_arrive_as_written() -> None:
    config = StreamConfig(classes=(("j", "a"), ("c",)))
    assert deal_classes(TEN, config, seed=1993) == [[9, 0], [2]]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (StreamConfig(), ("exactly one", "none of them", "stream.tasks, such as 5")),
        (StreamConfig(tasks=2, sizes=(1,)), ("exactly one", "tasks and sizes")),
        (StreamConfig(tasks=3), ("10 classes", "leaves 1 over", "stream.sizes=[4,3,3]")),
        (StreamConfig(tasks=20), ("at most 10", "20")),
        (StreamConfig(tasks=0), ("at least 1", "0")),
        (StreamConfig(sizes=(8, 3)), ("at most 10", "11 (8 + 3)")),
        (StreamConfig(sizes=(5, 0)), ("at least one class", "[5, 0]")),
        (StreamConfig(sizes=()), ("at least one task", "[]")),
        (StreamConfig(sizes=(12,)), ("at most 10", "12")),
        (StreamConfig(classes=(("a",), ("b", "a"))), ("one task only", "'a' 2 times")),
        (StreamConfig(classes=(("a",), ())), ("at least one class", "a task without classes")),
        (StreamConfig(classes=()), ("at least one class",)),
    ],
)
def test_what_does_not_fit_is_explained(config: StreamConfig, expected: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        deal_classes(TEN, config, seed=0)
    for part in expected:
        assert part in str(caught.value)


def test_all_unknown_classes_are_named_at_once_with_the_nearest() -> None:
    config = StreamConfig(classes=(("appel", "bear"), ("brid",)))
    with pytest.raises(DataError) as caught:
        deal_classes(["apple", "bear", "bird"], config, seed=0)
    assert ["'apple'" in fault.next_step or "'bird'" in fault.next_step for fault in caught.value.faults] == [True] * 2
