"""The mean feature of every class."""

from __future__ import annotations

from typing import Any

import pytest
import torch


def test_prototypes_are_the_mean_features_of_unaugmented_images(trial: Any) -> None:
    taught = trial("prototypes")
    taught.model.float()
    for index in range(2):
        task = taught.stream[index]
        taught.model.grow(task.class_names)
        taught.method.before_task(taught.model, task)
        taught.method.after_task(taught.model, task)
    for index in range(2):
        (batch,) = taught.stream[index].train.batches(1000)
        features = taught.model.features(batch.images)
        for label in taught.stream[index].classes:
            mean = features[batch.labels == label].mean(dim=0)
            torch.testing.assert_close(taught.model.head.prototypes[label], mean, atol=1e-6, rtol=1e-5)


def test_nothing_learns_by_gradient(trial: Any) -> None:
    taught = trial("prototypes")
    taught.model.float()
    task = taught.stream[0]
    taught.model.grow(task.class_names)
    taught.method.before_task(taught.model, task)
    assert taught.model.learning() == []
    assert taught.method.traits.gradient_free
    assert taught.method.traits.head == "prototype"


def test_the_loss_is_there_to_look_at(trial: Any) -> None:
    taught = trial("prototypes")
    taught.model.float()
    task = taught.stream[0]
    taught.model.grow(task.class_names)
    (batch,) = task.train.batches(1000)
    assert taught.method.loss(taught.model, batch, task).item() == pytest.approx(0.6931, abs=1e-4)  # two equal zeros
