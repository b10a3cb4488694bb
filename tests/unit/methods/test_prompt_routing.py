"""Routed prefixes: the loss by the formula, what learns, and a classifier that finds the tasks again."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lorastream.heads import new_statistics
from lorastream.methods.prompt_routing import closeness_to_means
from lorastream.prompts import RoutedPrompts


def test_closeness_by_hand() -> None:
    """With f = (2, 0) at τ = 2, f·f = 4; means (1, 5) and (0, 1) give 2 and 0, so log(1 + e^-1 + e^-2)."""
    found = closeness_to_means(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 5.0], [0.0, 1.0]]), temperature=2.0)
    assert found.item() == pytest.approx(math.log(1 + math.exp(-1) + math.exp(-2)), rel=1e-6)


def test_the_loss_is_local_with_own_prefixes_and_held_apart_from_old_means(trial: Any) -> None:
    taught = trial("prompt_routing", contrast=0.7, share=0.2, temperature=50.0).teach(1)
    model = taught.model
    model.statistics = new_statistics("diagonal")
    model.statistics.put(0, [torch.randn(5, model.width), torch.randn(5, model.width)])
    task = taught.begin(1)
    batch, prompts = taught.batch(task), model.prompts_as(RoutedPrompts)
    own = 0.8 * prompts.prompts[1] + 0.2 * prompts.prompts[0]
    rows = {block: prefix.expand(len(batch), -1, -1, -1) for block, prefix in enumerate(own)}
    features = model.backbone(batch.images, prefixes=rows)
    logits = features @ model.head.weights[1].mT + model.head.biases[1]
    products = features @ model.statistics.means.to(features).mT - features.square().sum(dim=1, keepdim=True)
    apart = (1 + (products / 50.0).exp().sum(dim=1)).log().mean()
    expected = F.cross_entropy(logits, batch.labels - task.first_class) + 0.7 * apart
    assert taught.loss(task).item() == pytest.approx(expected.item(), rel=1e-6)


def test_own_prefixes_and_new_rows_learn(trial: Any) -> None:
    taught = trial("prompt_routing").teach(1)
    taught.begin(1)
    learning = {name for name, p in taught.model.named_parameters() if p.requires_grad}
    assert learning == {"prompts.prompts.1", "head.weights.1", "head.biases.1"}


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_the_classifier_finds_the_tasks_again(trial: Any, covariance: str) -> None:
    """Where queries lie far apart: the classes' colours differ much, so each class says whose it is."""
    taught = trial("prompt_routing", router_epochs=60, router_lr=0.1, covariance=covariance).teach(2)
    model = taught.model
    prompts = model.prompts_as(RoutedPrompts)
    assert prompts.tasks.tolist() == [0, 0, 1, 1]
    right = 0
    for index in range(2):
        images = taught.batch(taught.stream[index]).images
        found = F.linear(model.queries(images), prompts.weight, prompts.bias).argmax(dim=1)
        right += int((prompts.tasks[found] == index).sum()) / len(images)
    assert right / 2 > 0.8


def test_what_describes_a_class_are_features_under_its_own_prefixes(trial: Any) -> None:
    """Whichever the classifier would take: with one that takes the first task for everything."""
    taught = trial("prompt_routing").teach(2)
    model = taught.model
    prompts = model.prompts_as(RoutedPrompts)
    prompts.bias = prompts.bias.index_fill(0, torch.tensor([0]), 1e4)
    with torch.no_grad():
        prompts.prompts[0].add_(1.0)
    images = taught.batch(taught.stream[1]).images
    own = {block: prefix.expand(len(images), -1, -1, -1) for block, prefix in enumerate(prompts.prompts[1])}
    torch.testing.assert_close(model.features_of_newest(images), model.backbone(images, prefixes=own))
    assert not torch.allclose(model.features(images), model.features_of_newest(images))
