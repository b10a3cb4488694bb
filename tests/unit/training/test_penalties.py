"""Penalties are 0 where nothing has moved, are what their formulas say, and cost nothing where they are off."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.class_token import ClassTokenBlock
from lorastream.backbones.patch_tokens import PatchTokens
from lorastream.data.stream import Stream
from lorastream.data.task import Batch, Task
from lorastream.errors import RecipeError
from lorastream.heads import features_by_class
from lorastream.learner import Learner
from lorastream.training.penalties import Penalties, penalties_of
from lorastream.training.settings import PenaltySettings
from tiny import SPEC


class _Fixed(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


def _penalties(means: Tensor, **weights: float) -> Penalties:
    return Penalties(_Fixed(), means, PenaltySettings(**weights))


def _part(images: Tensor) -> Batch:
    order = torch.arange(len(images))
    return Batch(images=images, labels=torch.zeros_like(order), indices=order, global_size=len(images))


def test_the_angle_by_hand() -> None:
    """Before [1, 0] and after [0, 2]: the cosines to [3, 0] fall from 1 to 0, those to [0, 1] rise from 0 to 1."""
    made = _penalties(torch.tensor([[3.0, 0], [0, 1], [1, 1]]), angle=10.0)
    assert float(made(_part(torch.tensor([[1.0, 0]])), torch.tensor([[0.0, 2]]))) == pytest.approx(10 * (1 + 1 + 0) / 3)


def test_distillation_by_hand() -> None:
    made = _penalties(torch.empty(0, 2), distillation=0.5)
    images, features = torch.tensor([[1.0, 0], [0, 0]]), torch.tensor([[1.0, 2], [0, 0]])
    assert float(made(_part(images), features)) == pytest.approx(0.5 * 4 / 4)


def test_held_answers_by_hand() -> None:
    """At T = 2 logits [2 log 3, 0] are answers [3/4, 1/4], and [0, 0] are [1/2, 1/2]."""
    settings = PenaltySettings(logits=0.25, temperature=2.0)
    answers = (lambda features: features, lambda features: features)
    made = Penalties(_Fixed(), torch.empty(0, 2), settings, answers=answers)
    then, now = torch.tensor([[2 * math.log(3), 0], [1, 1]]), torch.tensor([[0.0, 0], [5, 5]])
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(made(_part(then), now)) == pytest.approx(0.25 * 4 * divergence / 2)


def test_answers_are_those_of_the_head_as_it_was_and_as_it_learns(
    tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream], pixels: Tensor
) -> None:
    stream = synthetic_stream(images=6)
    learner = _learner(tiny_backbone(), "sequential_lora", alignment=None)
    learner.learn(stream[0])
    model = learner.model
    with torch.no_grad():
        before = model(pixels)
    model.grow(stream[1].class_names)
    found = penalties_of(model, learner.method, stream[1], PenaltySettings(logits=1.0))
    assert found is not None
    assert found.answers is not None
    learner.method.before_task(model, stream[1])
    heard: list[object] = []
    watch = model.head.register_forward_hook(lambda *given: heard.append(given))
    features = model.features(pixels).detach()
    assert float(found(_part(pixels), features).detach()) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        for weight in model.head.weights:
            weight.add_(torch.eye(*weight.shape))
    then, now = (answer(features) for answer in found.answers)
    torch.testing.assert_close(then, before, atol=1e-5, rtol=1e-5)
    watch.remove()
    assert heard == []
    torch.testing.assert_close(now, model(pixels)[:, :2], atol=1e-5, rtol=1e-5)
    assert (now - then).abs().max() > 1e-2
    loss = found(_part(pixels), model.features(pixels))
    (gradient,) = torch.autograd.grad(loss, [model.head.weights[0]])
    assert gradient.abs().max() > 0


def test_features_that_stayed_cost_nothing_and_longer_ones_no_angle() -> None:
    images = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    made = _penalties(torch.eye(4), angle=10.0, distillation=1.0)
    assert float(made(_part(images), images)) == 0
    assert float(_penalties(torch.eye(4), angle=10.0)(_part(images), 3 * images)) == pytest.approx(0, abs=1e-9)


def _learner(backbone: Backbone, method: str, **training: Any) -> Learner:
    alignment = {"samples_per_class": 8, "epochs": 1}
    given = {"epochs": 2, "batch_size": 8, "lr": 0.1, "alignment": alignment, **training}
    return Learner(backbone, method, training=given)


@pytest.mark.parametrize("method", ["sd_lora", "sequential_lora", "finetune"])
def test_the_previous_network_is_the_one_that_the_last_task_ended_with(
    method: str, tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream], pixels: Tensor
) -> None:
    stream = synthetic_stream(images=6)
    learner = _learner(tiny_backbone(), method)
    learner.learn(stream[0])
    model, settings = learner.model, PenaltySettings(distillation=1.0)
    assert penalties_of(model, learner.method, stream[0], settings) is None  # the first task has nothing before it
    model.grow(stream[1].class_names)
    assert penalties_of(model, learner.method, stream[1], PenaltySettings()) is None
    before = model.features(pixels).detach()
    found = penalties_of(model, learner.method, stream[1], settings)
    assert found is not None
    learner.method.before_task(model, stream[1])
    with torch.no_grad():
        for parameter in model.learning():
            parameter.add_(0.05)
        torch.testing.assert_close(found.previous(pixels), before, atol=1e-6, rtol=0)
        assert (model.features(pixels) - before).abs().max() > 1e-3
    own = {id(p) for p in model.backbone.parameters()}
    shared = sum(p.numel() for p in found.previous.parameters() if id(p) in own)
    total = sum(p.numel() for p in found.previous.parameters())
    assert shared == 0 if method == "finetune" else shared > 0.5 * total


@pytest.mark.parametrize(("penalty", "heavy"), [("angle", 20.0), ("distillation", 5.0), ("logits", 5.0)])
def test_a_heavy_penalty_holds_the_features(
    penalty: str,
    heavy: float,
    tiny_backbone: Callable[[], Backbone],
    synthetic_stream: Callable[..., Stream],
    pixels: Tensor,
) -> None:
    stream, moved = synthetic_stream(images=6), {}
    for weight in (0.0, heavy):
        learner = _learner(tiny_backbone(), "sequential_lora", penalties={penalty: weight}, lr=0.02)
        learner.learn(stream[0])
        before = learner.model.features(pixels).detach()
        learner.learn(stream[1])
        moved[weight] = float((learner.model.features(pixels).detach() - before).norm())
    assert moved[heavy] < 0.8 * moved[0.0]


def test_angles_need_the_means_of_old_classes(tiny_backbone: Callable[[], Backbone]) -> None:
    with pytest.raises(RecipeError, match=r"(?s)training\.penalties\.angle.*training\.alignment.*no alignment"):
        _learner(tiny_backbone(), "sd_lora", penalties={"angle": 10.0}, alignment=None)


def test_images_of_a_class_stay_as_far_apart_as_they_were(
    tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream]
) -> None:
    stream, moved = synthetic_stream(images=6), {}
    for weight in (0.0, 3.0):
        learner = _learner(tiny_backbone(), "sequential_lora", penalties={"covariance": weight}, lr=0.005, epochs=8)
        learner.learn(stream[0])
        before = _distances(learner, stream[1])
        learner.learn(stream[1])
        moved[weight] = float((_distances(learner, stream[1]) - before).abs().sum())
    assert moved[3.0] < 0.8 * moved[0.0]


def _distances(learner: Learner, task: Task) -> Tensor:
    """Return the distances of images of one class, of their features at unit length."""
    by_class = features_by_class(learner.model.passes(task.train), task.classes)
    return torch.cat([torch.pdist(F.normalize(features, dim=1)) for features in by_class])


def test_patches_are_held_and_the_last_block_is_narrow_again(
    tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream], pixels: Tensor
) -> None:
    stream, moved = synthetic_stream(images=6), {}
    for weight in (0.0, 20.0):
        learner = _learner(tiny_backbone(), "sequential_lora", penalties={"patches": weight}, lr=0.02)
        learner.learn(stream[0])
        before = _patches(learner, pixels)
        learner.learn(stream[1])
        moved[weight] = float((_patches(learner, pixels) - before).norm())
        assert type(learner.model.backbone.network.get_submodule("blocks.1")) is ClassTokenBlock
    assert moved[20.0] < 0.8 * moved[0.0]


def _patches(learner: Learner, pixels: Tensor) -> Tensor:
    with PatchTokens(learner.model.backbone, where="here") as tokens, torch.no_grad():
        learner.model.features(pixels)
        return tokens.latest()[1]


def test_patches_are_refused_before_learning_where_there_are_none_or_passes_are_compiled(
    tiny_backbone: Callable[[], Backbone],
) -> None:
    with pytest.raises(RecipeError, match=r"(?s)training\.penalties\.patches.*training\.compile = true"):
        _learner(tiny_backbone(), "sd_lora", penalties={"patches": 0.4}, compile=True)
    other = Backbone(nn.Linear(2, 2), spec=SPEC, width=2, projections={}, name="linear")
    with pytest.raises(RecipeError, match=r"(?s)training\.penalties\.patches.*class token.*linear"):
        _learner(other, "prototypes", penalties={"patches": 0.4}, alignment=None)


def test_tasks_of_one_class_and_classes_of_one_image_can_be_held(
    tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream]
) -> None:
    stream = synthetic_stream(tasks=3, classes_per_task=1, images=1)
    learner = _learner(tiny_backbone(), "sequential_lora", penalties={"patches": 0.4, "covariance": 1.0})
    for index in range(3):
        learner.learn(stream[index])
    assert learner.model.n_classes == 3
