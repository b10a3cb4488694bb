"""The queries of a task's images: computed once, so that a training step takes one pass of the backbone."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import pytest
import torch

from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.errors import MethodError, RecipeError
from lorastream.learner import Learner

METHODS = ["l2p", "dual_prompt", "coda_prompt"]
EPOCHS, BATCH = 3, 8


def _learner(backbone: Backbone, method: str, queries: str = "plain", **training: Any) -> Learner:
    return Learner(
        backbone, method, training={"epochs": EPOCHS, "batch_size": BATCH, "lr": 0.05, **training}, queries=queries
    )


@pytest.mark.parametrize("queries", ["plain", "augmented"])
@pytest.mark.parametrize("method", METHODS)
def test_training_sees_every_image_once_an_epoch_and_once_for_its_query(
    method: str, queries: str, tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream]
) -> None:
    learner, stream = _learner(tiny_backbone(), method, queries), synthetic_stream(tasks=2, images=10)
    seen: list[tuple[int, bool]] = []

    def count(_module: Any, inputs: tuple[torch.Tensor], _found: Any) -> None:
        seen.append((len(inputs[0]), torch.is_grad_enabled()))

    learner.model.backbone.register_forward_hook(count)
    for task in stream:
        seen.clear()
        learner.learn(task)
        images, steps = len(task.train), ceil(len(task.train) / BATCH) * EPOCHS
        learning, asking = ([n for n, gradients in seen if gradients is which] for which in (True, False))
        assert (len(learning), sum(learning)) == (steps, EPOCHS * images)
        assert sum(asking) == (images if queries == "plain" else EPOCHS * images)


@pytest.mark.parametrize("method", METHODS)
def test_micro_batches_of_shuffled_images_find_their_own(
    method: str, tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream]
) -> None:
    """In three micro-batches the same is learnt as at once."""
    stream = synthetic_stream(tasks=2, images=10)
    found: list[torch.Tensor] = []
    for accumulation in (1, 3):
        learner = _learner(tiny_backbone(), method, accumulation=accumulation)
        for task in stream:
            learner.learn(task)
        found.append(torch.cat([tensor.float().flatten() for tensor in learner.model.tensors()["prompts"].values()]))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def test_prompts_of_another_kind_are_refused(
    tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream]
) -> None:
    stream = synthetic_stream(tasks=2, images=4)
    learner, other = (_learner(tiny_backbone(), method) for method in ("l2p", "dual_prompt"))
    learner.learn(stream[0])
    learner.method = other.method
    with pytest.raises(MethodError, match=r"(?s)model\.prompts.*TaskPrompts.*PromptPool"):
        learner.learn(stream[1])


@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_honoured_is_refused(method: str, tiny_backbone: Callable[[], Backbone]) -> None:
    with pytest.raises(RecipeError, match=rf"(?s)training\.shard_backbone.*{method}, whose prompts"):
        _learner(tiny_backbone(), method, shard_backbone=True)
    with pytest.raises(RecipeError, match=rf"(?s)training\.penalties.*{method}, whose features come of prompts"):
        _learner(tiny_backbone(), method, penalties={"distillation": 1.0})
    backbone = tiny_backbone()
    backbone.network = torch.nn.Linear(2, 2)
    with pytest.raises(MethodError, match=r"(?s)plain vision transformer of timm.*Linear"):
        _learner(backbone, method)
