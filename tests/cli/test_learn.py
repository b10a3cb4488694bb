"""`learn` teaches a folder today and another next month; what goes wrong leaves the model as it was, and says why."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.load import load

Command = Callable[..., Any]
Files = Callable[[], dict[str, Any]]
Draw = Callable[..., None]

QUICK = ("training.epochs=1", "training.batch_size=4")
HARMFUL = ("training.epochs=2", "training.head_lr=300", "training.alignment.epochs=0")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch, tiny_backbone: Callable[[], Backbone]) -> None:
    """Whatever backbone is named, the tiny one is loaded."""
    monkeypatch.setattr("lorastream.learner.load_backbone", lambda *_, **__: tiny_backbone())


@pytest.fixture
def model(lorastream: Command, draw: Draw) -> Path:
    """Teach a first folder, and lay out a second."""
    draw("spring", "cat", "dog")
    draw("summer", "owl")
    assert lorastream("learn", "spring", *QUICK, "--into", "model").code == 0
    return Path("model")


def test_a_first_and_a_second_visit(lorastream: Command, draw: Draw, model: Path) -> None:
    draw("autumn", "ant", "bee")
    shown = lorastream("learn", "autumn", *QUICK, "--into", model, "--require", "old-drop<=100")
    assert shown.code == 0
    assert "Learnt ant, bee from 8 images" in shown.out
    assert "4 classes known" in shown.out
    assert "on 2 held-out images" in shown.out
    assert "old classes" in shown.out
    assert "samples of the feature statistics" in shown.out.replace("\n", " ")
    assert "Required old-drop<=100" in shown.out
    assert "lorastream history model" in shown.out
    assert "autumn: task 1 of 1 learnt" in shown.err
    assert all(len(line) <= 80 for line in shown.out.splitlines())


def test_a_new_model_says_what_its_backbone_is_for(
    lorastream: Command, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorastream.learner.load_backbone", load)
    draw("spring", "cat")
    shown = lorastream("learn", "spring", *QUICK, "--into", "model", "--method", "prototypes")
    assert "glyph_vit is a small backbone" in shown.out
    assert "--backbone TAG" in shown.out
    draw("summer", "owl")
    assert "glyph_vit" not in lorastream("learn", "summer", "--into", "model").out


def test_json_and_quiet(lorastream: Command, model: Path) -> None:
    shown = lorastream("learn", "summer", *QUICK, "--into", model, "--json", "--quiet")
    document = json.loads(shown.out)
    assert (document["committed"], document["classes"], document["classes_known"]) == (True, ["owl"], 3)
    assert set(document["accuracy_of_class"]) == {"owl"}
    assert document["settings"]["epochs"] == 1
    assert shown.err == ""
    Path("autumn").mkdir()
    Path("summer/owl").rename("autumn/fox")
    quiet = lorastream("learn", "autumn", *QUICK, "--into", model, "--quiet")
    assert quiet.err == ""
    assert quiet.out.startswith("Learnt fox from 4 images")
    assert len(quiet.out.splitlines()) <= 4


def test_a_harmful_update_is_refused_and_nothing_changes(
    lorastream: Command, draw: Draw, model: Path, files: Files
) -> None:
    draw("harm", "ant", "bee")
    before = files()
    shown = lorastream("learn", "harm", *HARMFUL, "--into", model, "--require", "old-drop<=1.0")
    assert shown.code == 1
    assert "One failure" in shown.err
    assert "old-drop<=1" in shown.err
    assert "the model is as it was" in " ".join(shown.err.split())
    assert "old class that lost" in shown.out
    assert "model is as it was." in shown.out
    assert "does not hold" in shown.out
    assert shown.out.startswith("Not taken over: ant, bee")
    assert files() == before
    told = lorastream("learn", "harm", *HARMFUL, "--into", model, "--require", "old-drop<=1", "--json")
    assert told.code == 1
    assert json.loads(told.out)["committed"] is False
    assert json.loads(told.out)["suffered"]
    assert files() == before


def test_old_classes_are_measured_on_a_folder(lorastream: Command, model: Path) -> None:
    shown = lorastream("learn", "summer", *QUICK, "--into", model, "--evaluate-on", "spring", "--json")
    assert json.loads(shown.out)["old_measured_on"] == "spring"


def test_what_was_left_out_is_told(lorastream: Command, draw: Draw) -> None:
    draw("spring", "cat", images=12)
    draw("spring", "dog", images=1)
    Path("spring/cat/3.png").write_bytes(b"")
    shown = lorastream("learn", "spring", *QUICK, "--into", "model")
    assert shown.code == 0
    assert "1 file could not be read" in shown.out
    assert "cat/3.png" in shown.out
    assert "nothing is held out of dog" in shown.out


def test_a_known_class_is_merged_or_another(lorastream: Command, model: Path) -> None:
    assert lorastream("learn", "spring", *QUICK, "--into", model, "--same-class", "merge").code == 0
    shown = lorastream("learn", "spring", *QUICK, "--into", model, "--same-class", "new", "--json")
    assert json.loads(shown.out)["classes"] == ["cat (2)", "dog (2)"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("learn nowhere --into model", ("nowhere", "no such path")),
        ("learn empty --into model", ("one folder a class", "no folders")),
        ("learn spring --into model", ("known already: 'cat', 'dog'", "--same-class merge")),
        ("learn summer --into model --same-class mrege", ("refuse, merge or new", "mrege")),
        ("learn summer --into model --require new", ("'new'", "the shell takes < and > for itself")),
        ("learn summer --into model --require old-drop<=1 --require nwe>=3", ("nwe>=3", "old-drop<=POINTS")),
        ("learn summer --into model --held-out 1", ("--held-out", "0 to below 1")),
        ("learn summer --into model --broken-share 2", ("--broken-share", "0 to 1")),
        ("learn summer --into model --evaluate-on autumn", ("class that the model knows", "'cow'")),
        ("learn summer --into model --backbone other", ("--backbone", "which model was made with", "leave --backbone")),
        ("learn summer --into model --method joint --seed 3", ("2 mistakes", "sd_lora", "--seed")),
        ("learn summer training.epoch=3 --into model", ("training.epoch", "did you mean 'epochs'")),
        ("learn summer method.rank=3 --into model", ("method.rank", "training.* only")),
        ("learn summer epochs=3 --into model", ("override epochs", "for example training.epochs=3")),
        ("learn summer --into summer/owl/0.png", ("is a file", "--into")),
        ("learn torn --into model", ("at most 10% of 5 images", "2 that cannot be read", "--broken-share")),
        ("learn summer --into new --backbone glyph_vit method.rnak=3", ("did you mean 'rank'",)),
        ("learn summer --into new --method joint", ("joint, which needs the images of all visits",)),
    ],
)
def test_mistakes_are_told_and_change_nothing(
    lorastream: Command, draw: Draw, model: Path, files: Files, typed: str, words: tuple[str, ...]
) -> None:
    Path("empty").mkdir()
    draw("autumn", "cow")
    draw("torn", "newt")
    for i in (1, 2):
        Path(f"torn/newt/{i}.png").write_bytes(b"torn")
    before = files()
    shown = lorastream(*typed.split())
    assert shown.code == 2
    assert shown.out == ""
    message = " ".join(shown.err.split())
    for part in (*words, "expected", "got", "next"):
        assert part in message
    assert "Traceback" not in shown.err
    assert {name: state for name, state in files().items() if not name.startswith("cache")} == before
    assert not Path("new").exists()
    assert model.is_dir()


def test_a_model_that_cannot_be_written_is_refused_at_once(
    lorastream: Command, model: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files()
    monkeypatch.setattr(os, "access", lambda path, mode, **_: not (mode & os.W_OK and "model" in str(path)))
    shown = lorastream("learn", "summer", *QUICK, "--into", model)
    assert "may not be written to" in " ".join(shown.err.split())
    assert shown.code == 2
    assert files() == before


def test_a_full_disk_loses_nothing(
    lorastream: Command, model: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files()
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if "model" in str(target):
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    shown = lorastream("learn", "summer", *QUICK, "--into", model)
    assert (shown.code, "No space left on device" in shown.err) == (2, True)
    assert "free some space" in shown.err
    assert files() == before


def test_a_model_that_changed_meanwhile_is_not_written_over(
    lorastream: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorastream.learner import Learner

    learn = Learner.learn

    def meanwhile(self: Learner, *given: Any, **terms: Any) -> Any:
        made = learn(self, *given, **terms)
        path = model / "model.toml"
        path.write_bytes(path.read_bytes() + b"\n")
        return made

    monkeypatch.setattr(Learner, "learn", meanwhile)
    shown = lorastream("learn", "summer", *QUICK, "--into", model)
    assert (shown.code, "something else wrote there meanwhile" in " ".join(shown.err.split())) == (2, True)


@pytest.mark.parametrize(
    ("damage", "word"),
    [("schema", "schema 99"), ("half", "model.toml"), ("tensor", "SHA-256"), ("backbone", "SHA-256")],
)
def test_a_model_that_is_not_whole_is_refused(
    lorastream: Command, model: Path, files: Files, damage: str, word: str
) -> None:
    path = model / "model.toml"
    content = path.read_bytes()
    if damage == "schema":
        path.write_bytes(content.replace(b"schema = 2", b"schema = 99"))
    elif damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "backbone":
        at = content.index(b"[backbone]")
        line = content[content.index(b"sha256", at) :].partition(b"\n")[0]
        path.write_bytes(content.replace(line, b'sha256 = "0000"'))
    else:
        next(model.glob("head-*")).write_bytes(b"torn")
    before = files()
    shown = lorastream("learn", "summer", *QUICK, "--into", model)
    assert (shown.code, word in shown.err) == (2, True)
    assert "Traceback" not in shown.err
    assert files() == before
