"""Every visit is a step that can be gone back to, bit for bit; a class can be renamed and forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lorastream import Learner
from lorastream.backbones.backbone import Backbone
from lorastream.errors import CheckpointError, DataError
from lorastream.training import manifest
from lorastream.visits import steps

Draw = Callable[..., Path]
Make = Callable[..., Learner]
Hashes = Callable[[Path], dict[str, str]]


@pytest.fixture
def model(draw: Draw, make: Make, tmp_path: Path) -> Path:
    """Return a model of three visits, each saved."""
    learner, folder = make(), tmp_path / "model"
    for name, classes in (("a", ("cat", "dog")), ("b", ("owl",)), ("c", ("ant", "bee"))):
        learner.learn(draw(name, 5, *classes))
        learner.save(folder)
    return folder


def _now(look: Hashes, folder: Path) -> dict[str, str]:
    """Return the hashes of what the model is: its manifest and the files that it names."""
    named = {entry["file"] for entry in manifest.read_manifest(folder)["files"].values()}
    return {name: digest for name, digest in look(folder).items() if name in {"model.toml", "classes.json", *named}}


def test_every_visit_is_a_step(model: Path) -> None:
    entries = steps.history(model)
    assert [(e.number, e.after, e.kind, e.is_current, e.n_classes) for e in entries] == [
        (1, None, "learn", False, 2),
        (2, 1, "learn", False, 3),
        (3, 2, "learn", True, 5),
    ]
    facts = entries[2].facts
    assert (facts["classes"], facts["images"], facts["held_out"]) == (["ant", "bee"], 8, 2)
    assert set(facts["accuracy_of_class"]) == {"ant", "bee"}
    assert set(facts["accuracy_of_old_class"]) == {"cat", "dog", "owl"}
    assert facts["bytes_added"] > 0
    assert facts["settings"]["epochs"] == 2
    assert entries[0].date is not None
    assert entries[0].date.endswith("Z")
    assert "accuracy_old" not in entries[0].facts


def test_going_back_restores_every_hash(draw: Draw, make: Make, tmp_path: Path, hashes: Hashes) -> None:
    learner, folder = make(), tmp_path / "model"
    then: dict[int, dict[str, str]] = {}
    for number, name in enumerate(("a", "b", "c"), start=1):
        learner.learn(draw(name, 4, f"class {name}"))
        learner.save(folder)
        then[number] = _now(hashes, folder)
    for number in (1, 3, 2, 1, 3):
        assert steps.rollback(folder, number).number == number
        assert _now(hashes, folder) == then[number]
    assert [entry.number for entry in steps.history(folder)] == [1, 2, 3]


def test_after_going_back_the_next_step_has_a_number_of_its_own(
    model: Path, draw: Draw, tiny_backbone: Callable[[], Backbone]
) -> None:
    steps.rollback(model, 1)
    learner = Learner.load(model, backbone=tiny_backbone())
    assert learner.class_names == ["cat", "dog"]
    learner.learn(draw("d", 4, "owl"))
    learner.save(model)
    assert [(e.number, e.after, e.is_current) for e in steps.history(model)][-2:] == [(3, 2, False), (4, 1, True)]
    assert Learner.load(model, backbone=tiny_backbone(), step=3).class_names == ["cat", "dog", "owl", "ant", "bee"]


def test_visits_that_are_saved_together_are_one_step(draw: Draw, make: Make, tmp_path: Path) -> None:
    learner = make()
    learner.learn(draw("a", 5, "cat"))
    learner.learn(draw("b", 5, "dog"))
    learner.save(tmp_path / "model")
    (entry,) = steps.history(tmp_path / "model")
    assert (entry.facts["classes"], entry.facts["images"]) == (["cat", "dog"], 8)
    learner.save(tmp_path / "model")
    assert len(steps.history(tmp_path / "model")) == 1


def test_a_class_gets_another_name_and_nothing_else_changes(
    model: Path, hashes: Hashes, tiny_backbone: Callable[[], Backbone]
) -> None:
    before = {name: digest for name, digest in hashes(model).items() if name.endswith(".safetensors")}
    entry = steps.rename(model, "owl", "Käuzchen")
    assert (entry.number, entry.kind, entry.after) == (4, "rename", 3)
    assert {name: digest for name, digest in hashes(model).items() if name.endswith(".safetensors")} == before
    learner = Learner.load(model, backbone=tiny_backbone())
    assert learner.model.classes == [["cat", "dog"], ["Käuzchen"], ["ant", "bee"]]
    steps.rollback(model, 3)
    assert Learner.load(model, backbone=tiny_backbone()).class_names[2] == "owl"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("owk", "x", "did you mean 'owl'"),
        ("owl", "Cat", "'cat' and 'Cat'"),
        ("owl", " ", "empty"),
        ("owl", "owl", "another"),
    ],
)
def test_a_name_that_cannot_be_is_refused(model: Path, hashes: Hashes, old: str, new: str, message: str) -> None:
    before = hashes(model)
    with pytest.raises(DataError, match=message):
        steps.rename(model, old, new)
    assert hashes(model) == before


@pytest.mark.parametrize("method", ["sd_lora", "prototypes"])
@pytest.mark.parametrize("name", ["dog", "owl"])
def test_a_forgotten_class_is_no_longer_answered_with(
    draw: Draw, make: Make, tmp_path: Path, tiny_backbone: Callable[[], Backbone], method: str, name: str
) -> None:
    learner, folder = make(method), tmp_path / "model"
    learner.learn(draw("a", 5, "cat", "dog"))
    learner.learn(draw("b", 5, "owl"))
    learner.save(folder)
    pictures = [tmp_path / "a/cat/0.png", tmp_path / "a/dog/0.png", tmp_path / "b/owl/0.png"]
    rows = learner.model.tensors()["head"]
    steps.forget_class(folder, name)
    loaded = Learner.load(folder, backbone=tiny_backbone())
    assert name not in loaded.class_names
    assert len(loaded.class_names) == 2
    kept = [i for i, known in enumerate(learner.class_names) if known != name]
    assert all(own.equal(rows[key][kept]) for key, own in loaded.model.tensors()["head"].items())
    assert all(set(dict(answer.top)) == set(loaded.class_names) for answer in loaded.predict(pictures))
    loaded.learn(draw("c", 5, "fox", name))  # it may come again, as a new class
    assert loaded.class_names == [*(learner.class_names[i] for i in kept), *sorted(("fox", name))]
    loaded.save(folder)
    assert [entry.kind for entry in steps.history(folder)] == ["learn", "forget-class", "learn"]


def test_what_cannot_be_forgotten_is_refused(draw: Draw, make: Make, tmp_path: Path, hashes: Hashes) -> None:
    learner, folder = make(), tmp_path / "model"
    learner.learn(draw("a", 5, "cat"))
    learner.save(folder)
    before = hashes(folder)
    with pytest.raises(DataError, match="its only class"):
        steps.forget_class(folder, "cat")
    with pytest.raises(DataError, match="class of the model: cat"):
        steps.forget_class(folder, "cow")
    assert hashes(folder) == before


def test_a_model_without_a_history_is_its_only_step(draw: Draw, make: Make, tmp_path: Path, model: Path) -> None:
    for path in (model / "history").iterdir():
        path.unlink()
    (entry,) = steps.history(model)
    assert (entry.number, entry.is_current, entry.n_classes) == (1, True, 5)
    content = (model / "model.toml").read_bytes()
    steps.rename(model, "owl", "kiwi")
    steps.rollback(model, 1)
    assert (model / "model.toml").read_bytes() == content
    del draw, make, tmp_path


def test_a_step_that_is_not_there_is_refused(model: Path, hashes: Hashes) -> None:
    before = hashes(model)
    for number in (0, 4):
        with pytest.raises(CheckpointError, match=rf"(?s)step {number}.*1 to 3.*lorastream history"):
            steps.rollback(model, number)
    assert hashes(model) == before


def test_a_step_with_a_damaged_file_is_not_gone_to(model: Path, hashes: Hashes) -> None:
    own = manifest.read_manifest(model, step=1)["files"]["head"]["file"]
    (model / own).write_bytes(b"torn")
    before = hashes(model)
    with pytest.raises(CheckpointError, match=own):
        steps.rollback(model, 1)
    assert hashes(model) == before
