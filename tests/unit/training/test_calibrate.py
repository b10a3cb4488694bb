"""The temperature is the likeliest one, a threshold keeps its share, and old classes count though no image is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from lorastream.data.stream import Stream
from lorastream.data.task import TaskImages
from lorastream.heads import features_by_class, new_statistics
from lorastream.heads.calibration import Calibration
from lorastream.heads.statistics import Covariance
from lorastream.heads.strangeness import MahalanobisDistance, strangeness
from lorastream.model import IncrementalClassifier
from lorastream.training.calibrate import calibrate, fit_temperature
from lorastream.training.evaluate import inference


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0])
def test_the_temperature_is_that_of_a_search(scale: float) -> None:
    logits = torch.randn(60, 4, generator=_generator()) * scale
    labels = torch.where(torch.rand(60, generator=_generator(1)) < 0.7, logits.argmax(dim=1), torch.arange(60) % 4)
    weights = torch.rand(60, generator=_generator(2)) + 0.1

    def loss(log_temperature: float) -> float:
        logs = log_softmax(logits.double().numpy() / np.exp(log_temperature), axis=1)
        smooth = 1 / 62
        each = -(1 - smooth) * logs[np.arange(60), labels.numpy()] - smooth * logs.mean(axis=1)
        return float((each * weights.double().numpy()).sum())

    best = minimize_scalar(loss, bounds=(-12, 12), method="bounded", options={"xatol": 1e-9}).x
    assert fit_temperature(logits, labels, weights=weights) == pytest.approx(np.exp(best), rel=1e-3)


def test_logits_that_were_made_k_times_too_large_are_brought_back() -> None:
    logits = torch.randn(500, 5, generator=_generator()) * 2
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=_generator(1)).flatten()
    weights = torch.ones(500)
    assert fit_temperature(7 * logits, labels, weights=weights) == pytest.approx(
        7 * fit_temperature(logits, labels, weights=weights), rel=1e-3
    )
    assert fit_temperature(logits, labels, weights=weights) == pytest.approx(1, rel=0.2)


def test_few_right_answers_are_no_certainty() -> None:
    """Four of four right: smoothed by 1 / 6, no answer is to be surer than 11 / 12 of two classes."""
    logits = torch.tensor([[90.0, 0.0]]).expand(4, 2)
    temperature = fit_temperature(logits, torch.zeros(4, dtype=torch.int64), weights=torch.ones(4))
    assert (logits[0] / temperature).softmax(dim=0)[0].item() == pytest.approx(11 / 12, abs=1e-4)


@pytest.fixture
def visited(model: IncrementalClassifier, stream: Stream) -> Callable[..., IncrementalClassifier]:
    """Make a model of both tasks whose head knows the class means, and statistics of a kind."""

    def make(covariance: Covariance | None = "shared", tasks: int = 2) -> IncrementalClassifier:
        model.statistics = None if covariance is None else new_statistics(covariance)
        for task in list(stream)[:tasks]:
            model.grow(task.class_names)
            features = features_by_class(model.passes(task.train), task.classes)
            if model.statistics is not None:
                model.statistics.put(task.first_class, features)
            with torch.no_grad():
                for row, own in enumerate(features):
                    model.head.weights[-1][row] = own.mean(dim=0)
        return model

    return make


def _none_of(images: TaskImages) -> TaskImages:
    return replace(images, rows=images.rows[:0], labels=images.labels[:0], names=[])


@pytest.mark.parametrize("covariance", ["shared", "full"])
def test_the_thresholds_keep_their_share_of_the_held_out_images(
    visited: Callable[..., IncrementalClassifier],
    stream: Stream,
    probe: Callable[[], object],
    accelerator: Accelerator,
    covariance: Covariance,
) -> None:
    model, held_out = visited(covariance), stream[1].test
    found = calibrate(model, probe(), held_out, accelerator=accelerator, generator=_generator())
    assert model.calibration is found
    assert found.images == len(held_out) == 20
    assert set(found.thresholds) == {"mahalanobis", "energy"}
    assert model.statistics is not None
    with inference(model):
        (batch,) = held_out.batches(100)
        distances = MahalanobisDistance(model.statistics, model.device)(model.features(batch.images))
    scores = strangeness("mahalanobis", -distances)
    torch.testing.assert_close(found.distances, scores)
    assert (scores <= found.thresholds["mahalanobis"].value).sum() == 19
    for threshold in found.thresholds.values():
        assert threshold.auroc is not None
        assert 0 <= threshold.auroc <= 1


def test_distances_of_earlier_visits_stay_and_count(
    visited: Callable[..., IncrementalClassifier], stream: Stream, probe: Callable[[], object], accelerator: Accelerator
) -> None:
    model = visited()
    model.calibration = Calibration(distances=torch.full((980,), 1000.0))
    found = calibrate(model, probe(), stream[1].test, accelerator=accelerator, generator=_generator())
    assert len(found.distances) == 1000
    assert found.thresholds["mahalanobis"].value == 1000


def test_a_class_left_out_is_told_from_one_that_is_known(
    visited: Callable[..., IncrementalClassifier], stream: Stream, probe: Callable[[], object], accelerator: Accelerator
) -> None:
    """Of one class alone nothing can be left out."""
    held_out = stream[1].test
    one = held_out.labels == held_out.labels[0]
    alone = replace(held_out, rows=held_out.rows[one], labels=held_out.labels[one], names=held_out.names[: one.sum()])
    found = calibrate(visited(), probe(), alone, accelerator=accelerator, generator=_generator())
    assert [threshold.auroc for threshold in found.thresholds.values()] == [None, None]


def test_without_held_out_images_the_statistics_speak(
    visited: Callable[..., IncrementalClassifier], stream: Stream, probe: Callable[[], object], accelerator: Accelerator
) -> None:
    model = visited()
    found = calibrate(model, probe(), _none_of(stream[1].test), accelerator=accelerator, generator=_generator())
    assert (found.images, found.error_before, set(found.thresholds)) == (0, None, {"energy"})
    again = calibrate(model, probe(), _none_of(stream[1].test), accelerator=accelerator, generator=_generator())
    assert again.temperature == found.temperature


def test_without_statistics_only_the_energy_is_known(
    visited: Callable[..., IncrementalClassifier], stream: Stream, probe: Callable[[], object], accelerator: Accelerator
) -> None:
    model = visited(None)
    found = calibrate(model, probe(), stream[1].test, accelerator=accelerator, generator=_generator())
    assert set(found.thresholds) == {"energy"}
    nothing = calibrate(model, probe(), _none_of(stream[1].test), accelerator=accelerator, generator=_generator())
    assert (nothing.temperature, nothing.thresholds) == (1.0, {})


def test_growing_takes_the_calibration_back_and_saving_keeps_it(
    visited: Callable[..., IncrementalClassifier], stream: Stream, probe: Callable[[], object], accelerator: Accelerator
) -> None:
    model = visited(tasks=1)
    found = calibrate(model, probe(), stream[0].test, accelerator=accelerator, generator=_generator())
    loaded = Calibration.of_tensors(model.tensors()["calibration"])
    assert (loaded.temperature, loaded.thresholds) == (found.temperature, found.thresholds)
    model.grow(["another"])
    assert model.calibration is not None
    assert (model.calibration.temperature, model.calibration.thresholds) == (1.0, {})
    assert torch.equal(model.calibration.distances, found.distances)
