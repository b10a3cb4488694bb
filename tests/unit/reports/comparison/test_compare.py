"""Only runs that may be compared share a table, only seeds of one method a line; every other difference is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lorastream.errors import CheckpointError
from lorastream.reports.comparison import compare
from lorastream.runs import RunRecord

Made = Callable[..., RunRecord]


def test_a_line_is_a_method_over_its_seeds_and_the_best_comes_first(made: Made) -> None:
    runs = [made("a", s, 0.4 + s / 10) for s in range(3)] + [made("b", s, 0.7 + s / 10) for s in range(3)]
    (setting,) = compare(runs).settings
    assert [(row.method, row.seeds, row.rank) for row in setting.rows] == [("b", [0, 1, 2], 1.0), ("a", [0, 1, 2], 2.0)]
    assert setting.reference == "b"
    assert setting.rows[1].accuracy.mean == pytest.approx(0.5)
    assert setting.rows[1].accuracy.deviation == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"fingerprint": "cccccccc"}, "small (data fingerprint=cccccccc)"),
        ({"sha256": "cccccccc"}, "small (backbone hash=cccccccc)"),
        ({"training": {"epochs": 9}}, "small (training.epochs=9)"),
        ({"recipe": "large"}, "large"),
    ],
)
def test_what_may_not_be_compared_stands_in_another_table(change: dict[str, Any], name: str, made: Made) -> None:
    settings = compare([made("a"), made("b", **change)]).settings
    assert len(settings) == 2
    assert settings[1].name == name
    assert [row.versus for setting in settings for row in setting.rows] == [None, None]


@pytest.mark.parametrize("change", [{"root": "/there"}, {"training": {"evaluation_batch_size": 7}}])
def test_where_things_lie_and_what_changes_no_figure_keeps_nothing_apart(change: dict[str, Any], made: Made) -> None:
    (setting,) = compare([made("a", 0), made("a", 1, **change)]).settings
    assert [row.seeds for row in setting.rows] == [[0, 1]]


@pytest.mark.parametrize("change", [{"training": {"lr": 0.2}}, {"options": {"rank": 4}}])
def test_another_rate_or_rank_is_another_line(change: dict[str, Any], made: Made) -> None:
    (setting,) = compare([made("a", 0), made("a", 1, **change)]).settings
    assert len(setting.rows) == 2
    named = {"training": "training.lr=0.2", "options": "method.rank=4"}[next(iter(change))]
    assert any(named in row.method for row in setting.rows)


def test_a_table_and_none_of_it_are_two_lines(made: Made) -> None:
    runs = [made("a", 0, training={"alignment": None}), made("a", 1, training={"alignment": {"epochs": 2}})]
    (setting,) = compare(runs).settings
    named = {row.method: row.seeds for row in setting.rows}
    assert named == {"a (training.alignment=none)": [0], "a (training.alignment=given)": [1]}


def test_what_an_older_release_did_not_record_is_taken_as_equal(made: Made) -> None:
    full = {"rank": 4, "norm": "product"}
    runs = [made("a", 0, hyper_parameters=full), made("a", 1), made("a", 2, hyper_parameters={**full, "new": 1})]
    (setting,) = compare(runs).settings
    assert [row.seeds for row in setting.rows] == [[0, 1, 2]]
    (setting,) = compare([*runs, made("a", 3, hyper_parameters={**full, "rank": 8})]).settings
    assert [row.seeds for row in setting.rows] == [[0, 1, 2], [3]]


def test_the_same_data_in_another_place_may_be_declared_the_same(made: Made) -> None:
    runs = [made("a"), made("b", fingerprint="cccccccc")]
    assert compare(runs).same_data_may_help
    (setting,) = compare(runs, same_data=True).settings
    assert setting.remarks == ("Fingerprints of the data differ; taken as the same data: aaaaaaaa, cccccccc.",)


def test_runs_that_did_not_finish_are_named_and_not_averaged(made: Made) -> None:
    failed = made("a", 1, 0.1, status="failed", failure="a loss of nan")
    (setting,) = compare([made("a", 0), failed, made("a", 2, None, status="running")]).settings
    assert setting.rows[0].seeds == [0]
    assert setting.left_out == (
        "a, seed 1: failed after 1 of 1 tasks: a loss of nan",
        "a, seed 2: running after 0 of 1 tasks",
    )
    with pytest.raises(CheckpointError, match="at least one finished run"):
        compare([failed])
    assert compare([made("a"), made("b", recipe="other", status="interrupted")]).left_out == (
        "other: b, seed 0: interrupted after 1 of 1 tasks",
    )


def test_pairs_share_seed_and_class_order(made: Made) -> None:
    runs = [made("a", 0, 0.5), made("a", 1, 0.5), made("b", 0, 0.4), made("b", 1, 0.1, classes=("two",)), made("b", 7)]
    (setting,) = compare(runs, reference="a").settings
    versus = {row.method: row.versus for row in setting.rows}
    assert versus["a"] is None
    assert versus["b"] is not None
    assert (versus["b"].pairs, versus["b"].difference) == (1, pytest.approx(-0.1))
    assert any("Class orders of one seed differ" in remark for remark in setting.remarks)


def test_a_seed_that_was_run_twice_counts_once(made: Made) -> None:
    (setting,) = compare([made("a", 0, 0.2), made("a", 0, 0.4), made("a", 1, 0.6)]).settings
    assert setting.rows[0].accuracy.mean == pytest.approx(0.45)
    assert setting.remarks == ("a, seed 0 was run 2 times (20.0, 40.0); their mean counts once.",)


def test_the_reference_is_the_best_of_those_with_most_seeds_or_the_one_asked_for(made: Made) -> None:
    runs = [made("lucky", 0, 0.9), *(made("b", s, 0.5) for s in range(2)), *(made("c", s, 0.4) for s in range(2))]
    assert compare(runs).settings[0].reference == "b"
    assert compare(runs, reference="c").settings[0].reference == "c"
    with pytest.raises(CheckpointError, match="did you mean 'lucky'"):
        compare(runs, reference="lucki")


def test_mean_ranks_are_among_the_methods_that_are_everywhere(made: Made) -> None:
    first = [made("a", 0, 0.9), made("b", 0, 0.8), made("only here", 0, 0.99)]
    second = [made("a", 0, 0.5, recipe="large"), made("b", 0, 0.6, recipe="large")]
    assert compare(first + second).mean_ranks == (("a", 1.5), ("b", 1.5))
    assert compare(first).mean_ranks == ()


def test_a_run_without_an_accuracy_has_no_rank_and_says_so(made: Made) -> None:
    comparison = compare([made("a", 0, 0.5), made("b", 0, None), made("c", 0, None)])
    assert [[row.rank for row in setting.rows] for setting in comparison.settings] == [[1.0], [None, None]]
    assert comparison.settings[1].remarks == ("Without an accuracy, and so without a rank: b, c.",)
