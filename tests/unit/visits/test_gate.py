"""The gate measures old classes without their images, refuses what costs too much, and names what suffered."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lorastream import Learner
from lorastream.errors import DataError, RunError
from lorastream.heads import LinearHead
from lorastream.visits import gate
from lorastream.visits.gate import UpdateRefusedError
from lorastream.visits.requirements import Requirement, parse

Draw = Callable[..., Path]
Make = Callable[..., Learner]


@pytest.mark.parametrize(
    ("text", "measure", "bound"),
    [
        ("old-drop<=1.0", "old-drop", 1.0),
        (" old >= 70 % ", "old", 70.0),
        ("new>=.5", "new", 0.5),
        ("new>=100", "new", 100.0),
    ],
)
def test_requirements_are_read(text: str, measure: str, bound: float) -> None:
    (found,) = parse([text])
    assert (found.measure, found.bound) == (measure, bound)
    assert parse([str(found)]) == (found,)


@pytest.mark.parametrize(
    "text", ["old-drop>=1", "new<=80", "new", "fresh>=3", "new>=101", "old-drop<=-1", "new>=many", ""]
)
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="old-drop<=POINTS"):
        parse(["new>=80", text])


def test_all_faults_are_told_at_once_and_the_shell_is_named() -> None:
    with pytest.raises(DataError, match=r"(?s)'new'.*the shell takes.*'fresh>=1'"):
        parse(["new", "fresh>=1"])


def test_a_bound_may_be_reached() -> None:
    assert Requirement(measure="old-drop", bound=1.0).holds(1.0)
    assert not Requirement(measure="old-drop", bound=1.0).holds(1.01)
    assert Requirement(measure="old-drop", bound=0.0).holds(-3.0)
    assert Requirement(measure="new", bound=80.0).holds(80.0)
    assert not Requirement(measure="new", bound=80.0).holds(79.9)


def test_samples_show_what_the_head_does_to_old_classes(draw: Draw, make: Make) -> None:
    """A head whose first row never wins has lost the first class, and no other."""
    learner = make()
    learner.learn(draw("a", 8, "cat", "dog"))
    model = learner.model
    assert model.statistics is not None
    assert isinstance(model.head, LinearHead)
    before = gate.on_statistics(model, model.statistics, model.class_names, learner.randomness)
    assert gate.on_statistics(model, model.statistics, model.class_names, learner.randomness) == before
    with torch.no_grad():
        model.head.biases[0][0] -= 1e6
    after = gate.on_statistics(model, model.statistics, model.class_names, learner.randomness)
    assert after["cat"] == 0.0
    assert after["dog"] == 1.0


def test_a_harmful_update_is_refused_and_the_classes_are_named(draw: Draw, make: Make) -> None:
    learner = make()
    learner.learn(draw("a", 8, "cat", "dog"))
    folder = draw("b", 8, "owl", "fox")
    harmful = {"head_lr": 300.0, "alignment": {"epochs": 0}}  # the new rows shout, and nothing compares them
    with pytest.raises(UpdateRefusedError, match=r"(?s)points lost on the old classes.*cat|dog") as refused:
        learner.learn(folder, require="old-drop<=1.0", **harmful)
    made = refused.value.visit
    assert isinstance(refused.value, RunError)
    assert refused.value.exit_code == 1
    assert not made.is_accepted
    assert made.suffered
    assert made.old_drop is not None
    assert made.old_drop > 0.01
    assert learner.class_names == ["cat", "dog"]
    learner.learn(folder, require="old-drop<=100")
    assert learner.n_tasks == 2


def test_old_classes_are_measured_on_a_folder_where_one_is_named(draw: Draw, make: Make) -> None:
    learner = make()
    learner.learn(draw("a", 8, "cat", "dog"))
    own = draw("test", 4, "dog")
    made = learner.learn(draw("b", 8, "owl"), evaluation=own)
    assert set(made.old) == set(made.old_before) == {"dog"}
    assert made.old_measured_on == str(own)
    with pytest.raises(DataError, match=r"(?s)class that the model knows.*'cow'"):
        learner.learn(draw("c", 4, "ant"), evaluation=draw("other", 2, "cow"))


def test_what_cannot_be_measured_is_refused_before_anything_is_learnt(draw: Draw, make: Make) -> None:
    learner = make("prototypes")
    learner.learn(draw("a", 4, "cat", "dog"), require=["old-drop<=1"])  # there is no old class yet
    with pytest.raises(DataError, match=r"--evaluate-on FOLDER"):
        learner.learn(draw("b", 4, "owl"), require=["old-drop<=1"])
    with pytest.raises(DataError, match="held-out images"):
        learner.learn(draw("c", 4, "ant"), require=["new>=10"], held_out=0.0)
    assert learner.n_tasks == 1


@pytest.mark.parametrize("method", ["l2p", "dual_prompt", "coda_prompt", "prompt_routing"])
def test_after_a_refusal_prompts_are_what_they_were(
    draw: Draw, make: Make, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    learner = make(method)
    with monkeypatch.context() as nobody_knows:
        nobody_knows.setattr("lorastream.visits.gate.on_images", lambda *_: {"cat": 0.0})
        with pytest.raises(UpdateRefusedError):
            learner.learn(draw("a", 4, "cat"), require="new>=1")
    assert learner.model.prompts is None
    learner.learn(draw("b", 4, "dog", "owl"))
    assert learner.model.prompts is not None
    before = learner.model.prompts.tensors()
    with monkeypatch.context() as nobody_knows:
        nobody_knows.setattr("lorastream.visits.gate.on_images", lambda *_: {"cat": 0.0})
        with pytest.raises(UpdateRefusedError):
            learner.learn(draw("c", 4, "cat"), require="new>=1")
    after = learner.model.prompts.tensors()
    assert after.keys() == before.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_refusal_can_be_sent_between_processes(draw: Draw, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorastream.visits.gate.on_images", lambda *_: {"cat": 0.0})
    with pytest.raises(UpdateRefusedError) as refused:
        make().learn(draw("a", 4, "cat"), require="new>=1")
    again = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 (our own)
    assert str(again) == str(refused.value)
