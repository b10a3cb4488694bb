"""The steps that led here are found by what came after what, and classes by the names they have now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lorastream.training import manifest
from lorastream.training.checkpoint import write_model
from lorastream.training.lineage import accuracy_when_learnt, class_names, lineage, names_now


def _learn(folder: Path, classes: list[list[str]], **accuracies: float) -> None:
    write_model(folder, {}, classes, {}, step={"kind": "learn", "accuracy_of_class": accuracies})


def _rename(folder: Path, classes: list[list[str]], old: str, new: str) -> None:
    manifest.rewrite_manifest(folder, {"classes": classes}, step={"kind": "rename", "from": old, "to": new})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model that learnt a and b, renamed a, learnt c, and went another way before: there it learnt d."""
    _learn(tmp_path, [["a", "b"]], a=0.9, b=0.8)
    _learn(tmp_path, [["a", "b"], ["d"]], d=0.1)
    manifest.restore(tmp_path, 1)
    _rename(tmp_path, [["A", "b"]], "a", "A")
    _learn(tmp_path, [["A", "b"], ["c"]], c=0.7)
    return tmp_path


def test_a_way_that_was_gone_back_from_is_left_out(folder: Path) -> None:
    steps = lineage(folder)
    assert [step.number for step in steps] == [1, 3, 4]
    assert class_names(steps[-1]) == ["A", "b", "c"]


def test_names_follow_a_renaming_back(folder: Path) -> None:
    assert names_now(lineage(folder)) == [
        {"a": "A", "b": "b"},
        {"A": "A", "b": "b"},
        {"A": "A", "b": "b", "c": "c"},
    ]
    assert accuracy_when_learnt(lineage(folder)) == {"A": (1, 0.9), "b": (1, 0.8), "c": (4, 0.7)}


def test_what_was_forgotten_is_not_known_now(folder: Path) -> None:
    write_model(folder, {}, [["A"], ["c"]], {}, step={"kind": "forget-class", "forgotten": "b"})
    assert names_now(lineage(folder))[0] == {"a": "A"}
    assert "b" not in accuracy_when_learnt(lineage(folder))


def test_a_model_without_a_history_has_one_step_and_tells_nothing(tmp_path: Path) -> None:
    facts: dict[str, Any] = {}
    write_model(tmp_path, facts, [["a"]], {})
    (step,) = lineage(tmp_path)
    assert (names_now([step]), accuracy_when_learnt([step])) == ([{"a": "a"}], {})
