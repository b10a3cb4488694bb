"""`history` fits a terminal, `rollback` restores every hash, `rename` and `forget-class` are steps like any other."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream.backbones.backbone import Backbone

Command = Callable[..., Any]
Files = Callable[[], dict[str, Any]]


@pytest.fixture
def model(
    lorastream: Command,
    draw: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tiny_backbone: Callable[[], Backbone],
) -> Path:
    """Teach two folders; the second has a class with a long name."""
    monkeypatch.setattr("lorastream.learner.load_backbone", lambda *_, **__: tiny_backbone())
    draw("spring", "cat", "dog")
    draw("summer", "a class of a name that is longer than a line of the table has room for", "日本 猫")
    for folder in ("spring", "summer"):
        assert lorastream("learn", folder, "training.epochs=1", "--into", "model", "--quiet").code == 0
    return Path("model")


def _hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()}


def test_the_history_is_a_table_that_fits(lorastream: Command, model: Path) -> None:
    assert lorastream("rename", model, "cat", "kitten").code == 0
    assert lorastream("forget-class", model, "dog").code == 0
    assert lorastream("rollback", model, "--to", 1).code == 0
    assert lorastream("rename", model, "cat", "puss").code == 0
    shown = lorastream("history", model)
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    rows = [line.split() for line in lines if line.strip() and line.split()[0].lstrip("*").isdigit()]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "*5"]
    assert "cat renamed kitten" in shown.out
    assert "dog forgotten" in shown.out
    assert "cat renamed puss (on 1)" in shown.out
    assert "lorastream rollback model --to 4" in shown.out
    entries = json.loads(lorastream("history", model, "--json").out)
    assert [entry["kind"] for entry in entries] == ["learn", "learn", "rename", "forget-class", "rename"]
    assert [entry["classes_known"] for entry in entries] == [2, 4, 4, 3, 2]
    assert [entry["current"] for entry in entries] == [False, False, False, False, True]


def test_going_back_restores_every_hash(lorastream: Command, model: Path) -> None:
    before = _hashes(model)
    lorastream("forget-class", model, "dog")
    assert _hashes(model)["model.toml"] != before["model.toml"]
    shown = lorastream("rollback", model, "--to", 2)
    assert (shown.code, "model is at step 2: 4 classes" in shown.out) == (0, True)
    after = _hashes(model)
    assert {name: after[name] for name in before} == before
    assert json.loads(lorastream("rollback", model, "--to", 3, "--json").out)["number"] == 3


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("history nowhere", ("no such folder",)),
        ("history spring", ("a folder without model.toml",)),
        ("rollback model --to 9", ("model, step 9", "1 to 2", "lorastream history model")),
        ("rename model dgo puppy", ("did you mean 'dog'",)),
        ("rename model dog Cat", ("'Cat'", "differ by more than case")),
        ("forget-class model cow", ("class of the model", "'cow'")),
    ],
)
def test_mistakes_are_told_and_change_nothing(
    lorastream: Command, model: Path, files: Files, typed: str, words: tuple[str, ...]
) -> None:
    before = files()
    shown = lorastream(*typed.split())
    assert (shown.code, shown.out, model.is_dir()) == (2, "", True)
    message = " ".join(shown.err.split())
    for part in (*words, "expected", "got", "next"):
        assert part in message
    assert "Traceback" not in shown.err
    assert files() == before


@pytest.mark.parametrize("verb", ["rename model cat kitten", "forget-class model cat", "rollback model --to 1"])
def test_a_full_disk_loses_nothing(
    lorastream: Command, model: Path, files: Files, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    before = files()

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    shown = lorastream(*verb.split())
    assert (shown.code, "No space left on device" in shown.err) == (2, True)
    assert files() == before
    assert model.is_dir()


def test_the_history_is_read_without_torch(model: Path) -> None:
    code = (
        "import sys; from lorastream.visits import steps; steps.history('model'); steps.rename('model', 'cat', 'puss');"
        "steps.rollback('model', 1); print([m for m in ('torch', 'timm', 'torchvision') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert model.is_dir()
