"""A method without a hook gets what is usual: head and the rest in groups, the model's own logits, nothing done."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lorastream import methods
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.model import IncrementalClassifier
from lorastream.training.hooks import hook, parameter_groups, predict
from lorastream.training.settings import TrainingSettings


@pytest.fixture
def begun(tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream]) -> tuple[Any, Any]:
    """Return SD-LoRA and a model at the beginning of a task."""
    method, task = methods.build("sd_lora", {"rank": 2}), synthetic_stream()[0]
    model = IncrementalClassifier(tiny_backbone())
    model.grow(task.class_names)
    method.before_task(model, task)
    return method, model


@pytest.mark.parametrize(("head_lr", "expected"), [(None, 0.008), (0.5, 0.5)])
def test_the_head_has_its_own_rate_and_everything_else_that_learns_the_other(
    begun: tuple[Any, Any], head_lr: float | None, expected: float
) -> None:
    method, model = begun
    rest, head = parameter_groups(method, model, TrainingSettings(head_lr=head_lr))
    assert (rest["lr"], head["lr"]) == (0.008, expected)
    assert {id(p) for p in head["params"]} == {id(p) for p in model.head.parameters()}
    others = [*model.adapters.parameters(), method.magnitudes_]
    assert {id(p) for p in rest["params"]} == {id(p) for p in others}
    assert len(rest["params"]) == len(others)


def test_a_group_without_parameters_is_left_out(begun: tuple[Any, Any]) -> None:
    method, model = begun
    for parameter in model.head.parameters():
        parameter.requires_grad_(requires_grad=False)
    (only,) = parameter_groups(method, model, TrainingSettings())
    assert only["lr"] == 0.008


def test_a_methods_own_groups_stand(begun: tuple[Any, Any]) -> None:
    own = [{"params": [], "lr": 3.0}]
    method: Any = SimpleNamespace(parameter_groups=lambda _model, settings: own if settings.lr == 2.0 else [])
    assert parameter_groups(method, begun[1], TrainingSettings(lr=2.0)) is own


def test_a_hook_that_is_not_there_does_nothing() -> None:
    method: Any = SimpleNamespace(after_step=lambda *arguments: arguments)
    assert hook(method, "after_step")(1, 2) == (1, 2)
    assert hook(method, "after_epoch")(1, 2, 3) == {}


def test_logits_are_the_models_or_the_methods_own(begun: tuple[Any, Any]) -> None:
    method, model = begun
    images = torch.zeros(2, 3, 16, 16)
    assert torch.equal(predict(method, model, images), model(images))

    def own(asked: Any, seen: Tensor) -> Tensor:
        assert asked is model
        return seen.flatten(1)[:, :3] + 7

    other: Any = SimpleNamespace(predict=own)
    assert predict(other, model, images).tolist() == [[7.0] * 3] * 2
