"""What was stopped is found, told in words, and gone on with by its own recipe alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lorastream.errors import CheckpointError
from lorastream.runs.unfinished import check_same, differences, is_unfinished, latest, stopped_at, where_stopped

RECIPE: dict[str, Any] = {"seed": 1, "training": {"lr": 0.1, "milestones": (1, 2)}, "data": {"root": "a"}}


def _run(folder: Path, status: str, *, facts: dict[str, Any] | None = None, recipe: dict[str, Any] = RECIPE) -> Path:
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({"status": status, "recipe": recipe}))
    if facts is not None:
        header = json.dumps({"__metadata__": {"facts": json.dumps(facts)}}).encode()
        (folder / "resume").mkdir()
        (folder / "resume" / "000003-progress.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"index": 0}, "before task 1"),
        ({"index": 2, "epoch": 1, "step": 0}, "in task 3, after 1 epoch"),
        ({"index": 2, "epoch": 0, "step": 1}, "in task 3, after 1 step"),
        ({"index": 9, "epoch": 2, "step": 7}, "in task 10, after 2 epochs and 7 steps"),
    ],
)
def test_where_it_was_stopped(facts: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert stopped_at(facts) == words
    assert where_stopped(_run(tmp_path / "run", "running", facts=facts)) == words


def test_a_run_is_unfinished_where_there_are_states_and_no_record_of_its_end(tmp_path: Path) -> None:
    assert is_unfinished(_run(tmp_path / "a", "running", facts={"index": 1}))
    assert is_unfinished(_run(tmp_path / "b", "interrupted", facts={"index": 1}))
    assert not is_unfinished(_run(tmp_path / "c", "finished", facts={"index": 1}))
    assert not is_unfinished(_run(tmp_path / "d", "interrupted"))
    assert not is_unfinished(tmp_path / "nowhere")


def test_what_leaves_the_figures_as_they_are_may_change(tmp_path: Path) -> None:
    moved = {**RECIPE, "data": {"root": "elsewhere"}}
    moved["training"] = {"lr": 0.1, "milestones": [1, 2], "checkpoint_every": 5, "new_in_this_release": 3}
    assert differences(RECIPE, moved) == []
    other = {**RECIPE, "training": {"lr": 0.2, "milestones": [1]}, "method": {"rank": 3}}
    assert differences(RECIPE, other) == [
        "method.rank: nothing then, 3 now",
        "training.lr: 0.1 then, 0.2 now",
        "training.milestones: [1, 2] then, [1] now",
    ]
    with pytest.raises(CheckpointError, match=r"(?s)--resume.*the recipe that the run began with.*training\.lr: 0\.1"):
        check_same(tmp_path, RECIPE, other)


def test_the_newest_unfinished_run_of_the_same_recipe_is_found(tmp_path: Path) -> None:
    assert latest(tmp_path, RECIPE, "sd_lora", 1) is None
    place = tmp_path / "digits" / "sd_lora"
    done = _run(place / "1-aa", "finished")
    assert latest(tmp_path, RECIPE, "sd_lora", 1) == done
    older = _run(place / "1-bb", "interrupted", facts={"index": 1})
    newer = _run(place / "1-cc", "failed", facts={"index": 1})
    os.utime(older / "record.json", (1, 1))
    os.utime(newer / "record.json", (2, 2))
    _run(place / "1-dd", "running", facts={"index": 1}, recipe={**RECIPE, "seed": 2})
    _run(place / "1-ee", "running")
    (place / "1-ff").mkdir()
    (place / "1-ff" / "record.json").write_text("{")
    assert latest(tmp_path, RECIPE, "sd_lora", 1) == newer
    assert latest(tmp_path, RECIPE, "joint", 1) is None
    assert latest(tmp_path, RECIPE, "sd_lora", 2) is None
