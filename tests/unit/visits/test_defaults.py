"""Settings follow from the amount of data, stay within bounds, and yield to what was said."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream import Learner
from lorastream.visits.defaults import by_amount

Draw = Callable[..., Path]
Make = Callable[..., Learner]


@given(n=st.integers(1, 10**6))
def test_steps_and_epochs_stay_within_bounds(n: int) -> None:
    found = by_amount(n)
    steps = found["epochs"] * math.ceil(n / found["batch_size"])
    assert 3 <= found["epochs"] <= 20
    assert steps >= 300 or found["epochs"] == 20
    assert found["batch_size"] in {8, 16, 32, 64}


@pytest.mark.parametrize(
    ("n", "batch", "epochs", "lr"),
    [(40, 8, 20, 0.01), (300, 16, 16, 0.0141), (2000, 32, 5, 0.02), (50_000, 64, 3, 0.0283)],
)
def test_the_rule_by_hand(n: int, batch: int, epochs: int, lr: float) -> None:
    assert by_amount(n) == {"batch_size": batch, "epochs": epochs, "lr": lr}


def test_what_was_said_stands_and_this_visit_is_heard_last(draw: Draw, make: Make, tmp_path: Path) -> None:
    learner = make(training={"epochs": 2})
    first = learner.learn(draw("a", 5, "cat"))
    assert (first.settings.epochs, first.settings.batch_size, first.settings.lr) == (2, 8, 0.01)
    assert first.settings.alignment is not None
    assert first.settings.alignment.covariance == "shared"
    second = learner.learn(draw("b", 5, "dog"), lr=0.5, alignment={"epochs": 1})
    assert (second.settings.epochs, second.settings.lr) == (2, 0.5)
    assert second.settings.alignment is not None
    assert (second.settings.alignment.epochs, second.settings.alignment.covariance) == (1, "shared")
    learner.save(tmp_path / "model")
    loaded = Learner.load(tmp_path / "model", backbone=make().model.backbone)
    third = loaded.learn(draw("c", 5, "owl"))
    assert (third.settings.epochs, third.settings.batch_size) == (2, 8), "what was chosen is kept on disk"


def test_a_head_without_rows_to_train_is_not_aligned(draw: Draw, make: Make) -> None:
    assert make("prototypes").learn(draw("a", 4, "cat")).settings.alignment is None


def test_a_model_whose_classes_were_not_described_is_taught_on_without_alignment(draw: Draw, make: Make) -> None:
    learner = make(training={"epochs": 1, "alignment": None})
    learner.learn(draw("a", 4, "cat"))
    learner.training = make(training={"epochs": 1}).training
    made = learner.learn(draw("b", 4, "dog"))
    assert made.settings.alignment is None
    assert (made.old, made.old_measured_on) == ({}, None)
