"""A class is hurt where it is worse than when it was learnt, by the step at which it fell most."""

from __future__ import annotations

from lorastream.metrics.hurt import losses

SERIES = {
    "same": [(1, 0.8), (3, 0.8)],
    "better": [(1, 0.5), (2, 0.4), (3, 0.6)],
    "a little": [(1, 0.9), (2, 0.85), (3, 0.84)],
    "much": [(2, 0.9), (3, 0.95), (4, 0.2)],
}


def test_the_largest_loss_comes_first_with_the_step_that_took_most() -> None:
    found = losses(SERIES, blame=True)
    assert [(one.name, one.learnt_in, one.then, one.now, one.worst_step) for one in found] == [
        ("much", 2, 0.9, 0.2, 4),
        ("a little", 1, 0.9, 0.84, 2),
    ]


def test_no_step_is_blamed_where_none_was_measured() -> None:
    assert [one.worst_step for one in losses(SERIES, blame=False)] == [None, None]


def test_a_class_just_learnt_has_lost_nothing() -> None:
    assert losses({"new": [(5, 0.1)]}, blame=True) == []
