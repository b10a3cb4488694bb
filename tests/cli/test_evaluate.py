"""`evaluate` tells accuracy by task and class, what was confused, and which step hurt what: 80 columns, or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorastream import Learner
from lorastream.backbones.backbone import Backbone

Command = Callable[..., Any]
TRAINING = {"epochs": 1, "batch_size": 4, "lr": 0.05, "alignment": {"covariance": "shared", "epochs": 1}}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tiny_backbone: Callable[[], Backbone], draw: Callable[..., None]) -> str:
    """Return a model of two visits whose second made everything look like one class of its own."""
    monkeypatch.setattr("lorastream.learner.load_backbone", lambda *_, **__: tiny_backbone())
    draw("spring", "heron", "stork")
    draw("summer", "egret", "a name longer than a column of a table is wide, as names may be")
    draw("test", "heron", "stork", "egret", images=4)
    learner = Learner(tiny_backbone(), training=TRAINING, transforms={"train": "none"})
    learner.learn("spring")
    learner.save("model")
    learner.learn("summer")
    learner.model.head.biases[-1].data[learner.class_names.index("egret") - 2] += 1000
    learner.save("model")
    return "model"


def test_the_screen(lorastream: Command, model: str) -> None:
    told = lorastream("evaluate", model, "test")
    assert (told.code, told.err) == (0, "evaluating (12)\n")
    assert told.out.startswith("33.3 % of 12 pictures right, among 4 classes; expected calibration error ")
    assert "Most often confused: heron for egret 4, stork for egret 4." in told.out
    assert all(len(line) <= 80 for line in told.out.splitlines())
    assert lorastream("evaluate", model, "test", "-q").out.count("\n") <= 2


def test_the_document_holds_all(lorastream: Command, model: str) -> None:
    document = json.loads(lorastream("evaluate", model, "test", "--json").out)
    found = Learner.load(model).evaluate("test")
    assert document["accuracy"] == found.overall_accuracy == 1 / 3
    assert np.array_equal(document["confusion"]["images"], found.confusion)
    assert document["expected_calibration_error"] == pytest.approx(found.reliability.error)
    assert document["is_calibrated"]
    assert [task["images"] for task in document["tasks"]] == [8, 4]
    assert [entry["accuracy"] for entry in document["classes"]] == [0, 0, 1]
    assert sum(document["reliability"]["images"]) == 12


def test_earlier_steps_say_which_one_hurt(lorastream: Command, model: str) -> None:
    document = json.loads(lorastream("evaluate", model, "test", "--history", "--json").out)
    history = document["history"]
    assert history["measured_on"] == "the same pictures"
    for name in ("heron", "stork"):
        steps = history["accuracies"][name]
        assert [entry["step"] for entry in steps] == [1, 2]
        assert steps[1]["accuracy"] == 0
        if steps[0]["accuracy"]:
            assert {"name": name, "learnt_in": 1, "then": steps[0]["accuracy"], "now": 0.0, "worst_step": 2} in history[
                "hurt"
            ]
    assert sum(history["accuracies"][name][0]["accuracy"] for name in ("heron", "stork")) > 0
    told = lorastream("evaluate", model, "test", "--history")
    assert "lost most" in told.out
    assert told.err.startswith("evaluating (12)\nstep 1 (8)\n")


def test_a_model_without_a_history_says_so(
    lorastream: Command, model: str, tiny_backbone: Callable[[], Backbone]
) -> None:
    del model
    learner = Learner(tiny_backbone(), training=TRAINING)
    learner.model.grow(["heron", "stork", "egret"])
    learner.save("plain")
    told = lorastream("evaluate", "plain", "test")
    assert told.code == 0
    assert "The model's history tells no accuracies" in told.out
    assert "never calibrated" in " ".join(told.out.split())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["model", "nowhere"], "got       no such folder"),
        (["model", "test/heron"], "got       no folders"),
        (["model", "strange"], "did you mean 'heron'?"),
        (["model", "split"], "split/test"),
        (["nowhere", "test"], "got       no such folder"),
        (["model"], "lorastream evaluate"),
    ],
)
def test_mistakes(
    lorastream: Command,
    model: str,
    draw: Callable[..., None],
    files: Callable[[], dict[str, Any]],
    typed: list[str],
    said: str,
) -> None:
    del model
    draw("strange", "herons", images=1)
    for name in ("train", "test"):
        Path("split", name).mkdir(parents=True)
    before = files()
    told = lorastream("evaluate", *typed)
    assert (told.code, told.out) == (2, "")
    assert "Traceback" not in told.err
    for part in (said, "expected", "got", "next"):
        assert part in told.err
    assert files() == before
