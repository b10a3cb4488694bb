"""A folder of classes gives the counts that its pictures give one by one, by class names, whatever their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lorastream import Learner
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.errors import DataError
from lorastream.metrics.calibration import expected_calibration_error
from lorastream.training.events import Evaluating, Event


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def learner(tiny_backbone: Callable[[], Backbone], stream: Stream, events: list[Event]) -> Learner:
    training = {"epochs": 2, "batch_size": 8, "lr": 0.05, "evaluation_batch_size": 7}
    taught = Learner(tiny_backbone(), training=training, transforms={"train": "gentle"}, listen=events.append)
    for task in stream:
        taught.learn(task)
    events.clear()
    return taught


@pytest.fixture
def folder(stream: Stream, tmp_path: Path) -> Path:
    """Return all test images as files, and of the last class none."""
    for task in stream:
        for i, label in enumerate(task.test.labels.tolist()):
            if label < 3:
                place = tmp_path / "pictures" / task.class_names[label - task.first_class]
                place.mkdir(parents=True, exist_ok=True)
                task.test.picture(i).save(place / f"{i}.png")
    return tmp_path / "pictures"


def test_the_counts_are_those_of_the_tasks(learner: Learner, stream: Stream, folder: Path, events: list[Event]) -> None:
    found, expected = learner.evaluate(folder), learner.evaluate(stream)
    assert np.array_equal(found.confusion[:3], expected.confusion[:3])
    assert not found.confusion[3].any()
    assert found.n_test == (20, 10)
    assert found.accuracy[0] == expected.accuracy[0]
    assert found.task_restricted_accuracy[0] == expected.task_restricted_accuracy[0]
    assert list(found.accuracy_of_class) == ["pattern 0", "pattern 1", "pattern 2"]
    assert found.overall_accuracy == found.confusion.trace() / 30
    seen = [event.done for event in events if isinstance(event, Evaluating)][:5]
    assert seen == [7, 14, 21, 28, 30]


def test_the_calibration_error_is_that_of_the_answers(learner: Learner, folder: Path) -> None:
    found = learner.evaluate(folder)
    answers = learner.predict(folder)
    right = [answer.name == Path(answer.picture).parent.name for answer in answers]
    expected = expected_calibration_error([answer.probability for answer in answers], right)
    assert found.reliability.error == pytest.approx(expected, abs=1e-6)
    assert not found.is_calibrated


def test_broken_pictures_are_counted_apart(learner: Learner, folder: Path) -> None:
    (folder / "pattern 1" / "torn.png").write_bytes(b"\x89PNG")
    found = learner.evaluate(folder)
    assert (found.confusion.sum(), len(found.skipped)) == (30, 1)
    assert "torn.png" in found.skipped[0]


def test_a_class_that_is_not_known_is_refused_by_name(learner: Learner, folder: Path) -> None:
    (folder / "pattern 0").rename(folder / "patern 0")
    (folder / "pattern 1").rename(folder / "zebra")
    with pytest.raises(DataError, match=r"(?s)patern 0.*did you mean 'pattern 0'.*zebra"):
        learner.evaluate(folder)


def test_only_broken_pictures_are_nothing_to_evaluate_on(learner: Learner, tmp_path: Path) -> None:
    (tmp_path / "p" / "pattern 0").mkdir(parents=True)
    (tmp_path / "p" / "pattern 0" / "torn.png").touch()
    with pytest.raises(DataError, match=r"(?s)none; the first.*torn\.png"):
        learner.evaluate(tmp_path / "p")
