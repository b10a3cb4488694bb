"""An update that learns the first task alone, and class means that answer: of both kinds of features, or of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.backbones.backbone import Backbone

NAMES = ["aper", "aper_adapted"]


def _two_tasks(trial: Any, name: str) -> Any:
    taught = trial(name, rank=2).teach(1)
    taught.method.after_task(taught.model, taught.begin(1))
    return taught


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_the_mean_features(trial: Any, name: str) -> None:
    taught = _two_tasks(trial, name)
    assert all(adapter.delta().any() for adapter in taught.model.adapters)
    for index in range(2):
        batch = taught.batch(taught.stream[index])
        features = taught.model.features(batch.images)
        assert features.shape[1] == taught.model.width == (64 if name == "aper" else 32)
        for row, label in enumerate(taught.stream[index].classes):
            torch.testing.assert_close(
                taught.model.head.weights[index][row], features[batch.labels == label].mean(dim=0)
            )


@pytest.mark.parametrize("name", NAMES)
def test_the_nearest_mean_in_angle_answers(trial: Any, name: str) -> None:
    taught = _two_tasks(trial, name)
    images = taught.batch(taught.stream[1]).images
    features, means = taught.model.features(images), torch.cat(list(taught.model.head.weights))
    cosines = F.cosine_similarity(features[:, None], means[None], dim=2)
    torch.testing.assert_close(taught.model(images), 20 * cosines)


def test_the_features_are_those_of_the_pretrained_network_beside_the_adapted_ones(
    trial: Any, tiny_backbone: Callable[[], Backbone]
) -> None:
    both, adapted = (_two_tasks(trial, name) for name in NAMES)
    images = both.batch(both.stream[1]).images
    pretrained: Tensor = tiny_backbone().double()(images)
    found = both.model.features(images)
    torch.testing.assert_close(found[:, :32], pretrained)
    assert torch.equal(found[:, 32:], adapted.model.features(images))
    assert (found[:, :32] - found[:, 32:]).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_only_the_first_task_teaches_the_update(trial: Any, name: str) -> None:
    taught = trial(name, rank=3).teach(1)
    ended = [adapter.delta() for adapter in taught.model.adapters]
    taught.begin(1)
    assert taught.learning() == []
    taught.method.after_task(taught.model, taught.task(1))
    assert all(torch.equal(adapter.delta(), old) for adapter, old in zip(taught.model.adapters, ended, strict=True))
    assert taught.model.adapters.ranks == [3]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_task_is_learnt_on_the_angles_of_the_adapted_features(trial: Any, name: str) -> None:
    """At the start the update is zero, so the loss is that of the cosines of the plain features, times 20."""
    taught = trial(name, rank=2)
    task = taught.begin(0)
    batch = taught.batch(task)
    cosines = (
        F.normalize(taught.model.features(batch.images), dim=1) @ F.normalize(taught.model.head.weights[0], dim=1).mT
    )
    assert cosines.shape == (len(batch), 2)
    assert taught.loss(task).item() == pytest.approx(F.cross_entropy(20 * cosines, batch.labels).item())


def test_it_promises_two_passes_and_no_merging_or_one_pass_and_merging(trial: Any) -> None:
    both, adapted = (trial(name).method.traits for name in NAMES)
    assert (both.inference_passes, both.merges_exactly) == (2, False)
    assert (adapted.inference_passes, adapted.merges_exactly) == (1, True)
