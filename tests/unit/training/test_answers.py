"""An answer is the calibrated softmax of the logits, in the order asked; what is too strange is `unknown`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from lorastream import Learner
from lorastream.backbones.backbone import Backbone
from lorastream.data.pictures import listed
from lorastream.data.stream import Stream
from lorastream.errors import DataError
from lorastream.heads.calibration import Calibration, Threshold
from lorastream.training.calibrate import calibrate

NOISE = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)


@pytest.fixture
def learner(tiny_backbone: Callable[[], Backbone], stream: Stream) -> Learner:
    """Return a learner of two tasks of two classes, not calibrated."""
    training = {"epochs": 2, "batch_size": 8, "lr": 0.05, "alignment": {"covariance": "shared", "epochs": 1}}
    taught = Learner(tiny_backbone(), training=training, transforms={"train": "gentle"})
    for task in stream:
        taught.learn(task)
    return taught


@pytest.fixture
def pictures(stream: Stream) -> list[PIL.Image.Image]:
    return [stream[i].test.picture(j) for i in (0, 1) for j in range(6)]


def test_the_temperature_divides_the_logits(learner: Learner, pictures: list[PIL.Image.Image]) -> None:
    raw = [answer.top for answer in learner.predict(pictures, top=4)]
    learner.model.calibration = Calibration(temperature=3.0)
    for before, after in zip(raw, learner.predict(pictures, top=4), strict=True):
        assert [name for name, _ in before] == [name for name, _ in after.top]
        cooled = np.array([p for _, p in before]) ** (1 / 3)
        np.testing.assert_allclose([p for _, p in after.top], cooled / cooled.sum(), rtol=1e-4)


@pytest.mark.parametrize("score", ["mahalanobis", "energy"])
def test_what_is_above_the_threshold_is_unknown(learner: Learner, pictures: list[Any], score: Any) -> None:
    learner.model.calibration = Calibration(thresholds={score: Threshold(value=1e9)})
    strange = [answer.strangeness for answer in learner.predict(pictures, unknown=score)]
    middle = sorted(s for s in strange if s is not None)[5]
    learner.model.calibration = Calibration(thresholds={score: Threshold(value=middle)})
    answers = learner.predict(pictures, unknown=True)
    assert [answer.is_unknown for answer in answers].count(True) == 6
    for answer, plain in zip(answers, learner.predict(pictures), strict=True):
        assert answer.top == plain.top
        assert (plain.is_unknown, plain.strangeness) == (False, None)
        assert answer.name == ("unknown" if answer.is_unknown else plain.name)


def test_noise_is_stranger_than_what_it_was_taught(learner: Learner, stream: Stream, pictures: list[Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    calibrate(learner.model, learner.method, stream[1].test, accelerator=learner.accelerator, generator=generator)
    known = learner.predict(pictures, unknown="mahalanobis")
    (noise,) = learner.predict(NOISE, unknown="mahalanobis")
    assert noise.strangeness is not None
    assert noise.strangeness > np.median([answer.strangeness for answer in known if answer.strangeness is not None])


def test_unknown_without_a_calibration_is_refused(learner: Learner, pictures: list[Any]) -> None:
    with pytest.raises(DataError, match=r"(?s)predict, unknown.*calibrated.*lorastream learn"):
        learner.predict(pictures, unknown=True)
    learner.model.calibration = Calibration(thresholds={"energy": Threshold(value=0.0)})
    with pytest.raises(DataError, match="tell by mahalanobis"):
        learner.predict(pictures, unknown="mahalanobis")
    wrong: Any = "energie"
    with pytest.raises(DataError, match="did you mean 'energy'"):
        learner.predict(pictures, unknown=wrong)


def test_of_a_folder_the_broken_are_left_out_with_a_warning(
    learner: Learner, pictures: list[PIL.Image.Image], tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, picture in enumerate(pictures[:3]):
        picture.save(folder / f"{i}.png")
    (folder / "1.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"(?s)1 of 3 pictures could not be decoded.*1\.png"):
        answers = learner.predict(folder)
    assert [Path(answer.picture).name for answer in answers] == ["0.png", "2.png"]
    assert [answer.name for answer in answers] == [learner.predict(pictures[i])[0].name for i in (0, 2)]


def test_answers_come_one_by_one(learner: Learner, pictures: list[PIL.Image.Image]) -> None:
    """Asking for the first of many does not wait for the last, which is broken."""
    pending = learner.asked().predictions(listed([*pictures * 40, np.zeros((2, 2, 7), dtype=np.uint8)]))
    assert next(pending).picture == "picture 1"
    pending.close()
    assert not learner.model.adapters.merged
