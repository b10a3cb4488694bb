"""An update that learns the first task alone, and class means that answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F


def _two_tasks(trial: Any) -> Any:
    taught = trial("aper_adapted", rank=2).teach(1)
    taught.method.after_task(taught.model, taught.begin(1))
    return taught


def test_rows_are_the_mean_features_of_the_adapted_network(trial: Any) -> None:
    taught = _two_tasks(trial)
    assert all(adapter.delta().any() for adapter in taught.model.adapters)
    for index in range(2):
        batch = taught.batch(taught.stream[index])
        features = taught.model.features(batch.images)
        for row, label in enumerate(taught.stream[index].classes):
            torch.testing.assert_close(
                taught.model.head.weights[index][row], features[batch.labels == label].mean(dim=0)
            )


def test_the_nearest_mean_in_angle_answers(trial: Any) -> None:
    taught = _two_tasks(trial)
    images = taught.batch(taught.stream[1]).images
    features, means = taught.model.features(images), torch.cat(list(taught.model.head.weights))
    cosines = F.cosine_similarity(features[:, None], means[None], dim=2)
    torch.testing.assert_close(taught.model(images), 20 * cosines)


def test_only_the_first_task_teaches_the_update(trial: Any) -> None:
    taught = trial("aper_adapted", rank=3).teach(1)
    ended = [adapter.delta() for adapter in taught.model.adapters]
    taught.begin(1)
    assert taught.learning() == []
    taught.method.after_task(taught.model, taught.task(1))
    assert all(torch.equal(adapter.delta(), old) for adapter, old in zip(taught.model.adapters, ended, strict=True))
    assert taught.model.adapters.ranks == [3]


def test_the_first_task_is_learnt_on_angles(trial: Any) -> None:
    """At the start the update is zero, so the loss is that of the cosines of the plain features, times 20."""
    taught = trial("aper_adapted", rank=2)
    task = taught.begin(0)
    batch = taught.batch(task)
    cosines = (
        F.normalize(taught.model.features(batch.images), dim=1) @ F.normalize(taught.model.head.weights[0], dim=1).mT
    )
    assert taught.loss(task).item() == pytest.approx(F.cross_entropy(20 * cosines, batch.labels).item())
