"""`suite` makes the same runs as by hand, says how each stands, and ends with a code that a script can trust."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream.suites import attempt

Command = Callable[..., Any]
SMALL = (
    *("data.source=synthetic", "data.n_classes=4", "data.images_per_class=4", "data.size=16", "stream.tasks=2"),
    *("data.test_images_per_class=2", "training.epochs=1", "training.batch_size=4"),
)
MANY = f"""
methods = ["sd_lora"]
overrides = {json.dumps(SMALL)}
retries = 0
[recipes.digits]
"""
STAND_IN = """
import json, pathlib, sys
words = sys.argv[1:]
folder = pathlib.Path(words[words.index("--out") + 1])
if words[words.index("--methods") + 1] == "joint":
    print("One failure", "  got       no room", sep="\\n")
    sys.exit(1)
(folder / "record.json").write_text((pathlib.Path("whole") / "record.json").read_text())
"""


@pytest.fixture
def many() -> str:
    """Write a suite of one small run."""
    Path("many.toml").write_text(MANY)
    return "many.toml"


def _figures(folder: str) -> dict[str, Any]:
    record = json.loads(Path(folder, "record.json").read_text())
    kept = (
        "recipe",
        "hyper_parameters",
        "status",
        "seed",
        "tasks",
        "accuracy_matrix",
        "forgetting",
        "figures_per_task",
    )
    return {key: record[key] for key in kept} | {"losses": [epoch["loss"] for epoch in record["epochs"]]}


def _tensors(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder, "model").glob("*.safetensors"))


def test_a_run_of_a_suite_is_the_run_by_hand(
    lorastream: Command, many: str, monkeypatch: pytest.MonkeyPatch, files: Callable[[], dict[str, Any]]
) -> None:
    """The names of tensor files are the hashes of what is in them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = lorastream("suite", many, "--json")
    assert told.code == 0, told.err
    (run,) = json.loads(told.out)
    assert (run["folder"], run["state"], run["attempts"]) == ("runs/many/digits/sd_lora/0", "finished", 1)
    assert lorastream("run", "digits", *SMALL, "--methods", "sd_lora", "--out", "hand", "-q").code == 0
    assert _figures("hand") == _figures(run["folder"])
    assert _tensors("hand") == _tensors(run["folder"]) != []
    before = files()
    again = lorastream("suite", many)
    assert (again.code, again.err) == (0, "")
    assert "1 run: 1 there already." in " ".join(again.out.split())
    assert files() == before
    Path(many).write_text(MANY.replace("training.epochs=1", "training.epochs=2"))
    other = lorastream("suite", many)
    assert other.code == 2
    assert "training.epochs: 1 then, 2 now" in " ".join(other.err.split())
    assert {name: content for name, content in files().items() if name != many} == {
        name: content for name, content in before.items() if name != many
    }


def test_a_failed_run_ends_with_one_and_its_last_words(
    lorastream: Command, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lorastream("run", *tiny, "--methods", "prototypes", "--out", "whole", "-q").code == 0
    Path("stand_in.py").write_text(STAND_IN)
    monkeypatch.setattr(attempt, "PROGRAM", ("stand_in.py",))
    Path("two.toml").write_text('methods = ["joint", "prototypes"]\n[recipes.digits]\n')
    told = lorastream("suite", "two.toml", "--jobs", 2)
    assert told.code == 1
    lines = told.err.splitlines()
    assert "digits/joint/0: tried again" in lines
    assert "digits/joint/0: failed, exit code 1, tried 2 times" in lines
    assert any(line.startswith("digits/prototypes/0: finished, ") for line in lines)
    assert lines[lines.index("One failure") :][:2] == ["One failure", "digits/joint/0"]
    assert "exit code 1, tried 2 times: One failure; got no room" in " ".join(told.err.split())
    assert "2 runs: 1 finished, 1 failed." in " ".join(told.out.split())
    assert "Traceback" not in told.err


def test_a_dry_run_lists_the_commands_and_starts_none(lorastream: Command, many: str) -> None:
    told = lorastream("suite", many, "--dry-run")
    assert told.code == 0
    assert told.out.split() == [
        *("lorastream", "run", "digits", *SMALL, "seed=0", "--methods", "sd_lora"),
        *("--out", "runs/many/digits/sd_lora/0"),
    ]
    assert told.err == "1 run: 0 there already, 0 to go on with, 1 to make.\n"
    listed = json.loads(lorastream("suite", many, "--dry-run", "--json").out)
    assert [(entry["run"], entry["holds"]) for entry in listed] == [("digits/sd_lora/0", "nothing")]
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[recipes.digits]\noverrides = ["training.lrr=1"]', "many.toml: recipes.digits: override training.lrr"),
        ("[recipes.digitz]", "many.toml: recipes.digitz: recipe"),
        ("retry = 3\n[recipes.digits]", "many.toml: retry"),
        ("seeds = [0", "many.toml: "),
    ],
)
def test_a_mistake_in_the_file_is_told_before_anything_is_made(
    lorastream: Command, text: str, where: str, files: Callable[[], dict[str, Any]]
) -> None:
    Path("many.toml").write_text(text)
    before = files()
    told = lorastream("suite", "many.toml")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(f"One mistake\n{where}")
    assert all(part in told.err for part in ("expected", "got", "next"))
    assert "Traceback" not in told.err
    assert files() == before


def test_two_calls_do_not_share_a_root(lorastream: Command, many: str) -> None:
    from lorastream.suites.root import alone_in

    with alone_in(Path("runs/many")):
        told = lorastream("suite", many)
    assert told.code == 2
    assert "no other suite is at work" in " ".join(told.err.split())


def test_a_name_that_is_no_file_is_told_at_once(lorastream: Command) -> None:
    told = lorastream("suite", "nothing.toml")
    assert (told.code, told.out) == (2, "")
    assert "One mistake\nnothing.toml\n" in told.err
