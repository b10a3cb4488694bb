"""Settings are checked when they are made: types, ranges, and what does not go together, all named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lorastream.training.settings import AlignmentSettings, TrainingSettings


def test_the_defaults_are_those_of_the_released_code() -> None:
    settings = TrainingSettings()
    assert (settings.optimiser, settings.lr, settings.momentum, settings.weight_decay) == ("sgd", 0.008, 0.9, 0.0)
    assert (settings.epochs, settings.batch_size, settings.schedule, settings.clip_norm) == (20, 128, "constant", None)
    assert settings.precision == "fp32"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", -1),
        ("epochs", 2.5),
        ("batch_size", 0),
        ("batch_size", "128"),
        ("evaluation_batch_size", 0),
        ("optimiser", "rmsprop"),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("head_lr", -1.0),
        ("momentum", 1.0),
        ("weight_decay", -0.1),
        ("schedule", "linear"),
        ("decay_factor", 0.0),
        ("decay_factor", 1.5),
        ("warmup_epochs", -1.0),
        ("accumulation", 0),
        ("clip_norm", 0.0),
        ("precision", "fp8"),
        ("milestones", (0,)),
        ("epoch", 3),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingSettings.model_validate({key: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {key}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"milestones": [3]}, 'write schedule = "multistep"'),
        ({"schedule": "multistep"}, r"milestones = \[10, 15\]"),
        ({"schedule": "multistep", "milestones": [15, 10, 15]}, r"milestones = \[10, 15\]"),
        ({"batch_size": 4, "accumulation": 5}, "at most batch_size = 4 micro-batches"),
        (
            {"head": {"kind": "linear", "start": "drawn"}},
            r"(?s)training\.head\.start.*kind = \"cosine\", or leave start out",
        ),
        ({"ranks": {"policy": "energy", "penalty": 1.0}}, r"(?s)training\.ranks\.penalty.*share.*leave penalty out"),
        ({"ranks": {"policy": "gated_l1", "share": 0.9}}, r"(?s)training\.ranks\.share.*penalty.*leave share out"),
        (
            {"ranks": {"policy": "gated_l1"}, "average": 0.9},
            r"(?s)ranks\.policy.*leave training\.average out",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_would(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingSettings.model_validate(given)


def test_several_such_faults_are_told_at_once() -> None:
    with pytest.raises(ValidationError, match=r"(?s)training\.milestones.*training\.accumulation"):
        TrainingSettings.model_validate({"milestones": [3], "batch_size": 4, "accumulation": 5})


def test_what_goes_together_is_taken_and_lists_become_tuples() -> None:
    given = {"schedule": "multistep", "milestones": [10, 15], "accumulation": 4, "batch_size": 4, "epochs": 0}
    assert TrainingSettings.model_validate(given).milestones == (10, 15)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        TrainingSettings().lr = 1.0  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("samples_per_class", 0),
        ("epochs", -1),
        ("batch_size", 0),
        ("lr", 0.0),
        ("momentum", 1.0),
        ("weight_decay", -1.0),
        ("logit_norm", "per_class"),
        ("temperature", 0.0),
        ("mean_scale_first", 0.0),
        ("mean_scale_first", 1.1),
        ("covariance", "banded"),
        ("ridge", -1e-4),
        ("samples", 256),
    ],
)
def test_a_value_of_alignment_out_of_range_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingSettings.model_validate({"alignment": {key: value}})
    assert {error["loc"][:2] for error in caught.value.errors()} == {("alignment", key)}


def test_alignment_is_off_unless_asked_for_and_an_empty_table_asks_for_the_sources() -> None:
    assert TrainingSettings().alignment is None
    aligned = TrainingSettings.model_validate({"alignment": {}}).alignment
    assert aligned == AlignmentSettings(
        samples_per_class=256,
        epochs=5,
        batch_size=256,
        lr=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        logit_norm="per_task",
        temperature=0.1,
        mean_scale_first=0.9,
        ridge=1e-4,
    )
