"""A task may end with the running mean of its steps; the start has no part in it, and one step is its own mean."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.learner import Learner
from lorastream.training.running_mean import settle_on_mean, take_in


def test_by_hand() -> None:
    """Decay 0.5 over 1, 2, 4: weights 1/8, 1/4, 1/2 over 7/8."""
    carried: dict[str, Tensor] = {}
    parameter = torch.zeros(2)
    for value in (1.0, 2.0, 4.0):
        parameter.fill_(value)
        take_in(carried, [parameter], 0.5)
    settle_on_mean(carried, [parameter])
    assert parameter.tolist() == pytest.approx([(1 / 8 + 2 / 4 + 4 / 2) / (7 / 8)] * 2)


def test_without_a_step_nothing_changes() -> None:
    parameter = torch.ones(2)
    settle_on_mean({}, [parameter])
    assert parameter.tolist() == [1, 1]


def test_a_task_of_one_step_ends_as_without(
    tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream], pixels: Tensor
) -> None:
    found = {}
    for batch_size, average in ((100, None), (100, 0.9), (6, None), (6, 0.9)):
        training = {"epochs": 1, "batch_size": batch_size, "lr": 0.05, "average": average}
        learner = Learner(tiny_backbone(), "sd_lora", training=training)
        learner.learn(synthetic_stream(images=6)[0])
        with torch.no_grad():
            found[batch_size, average] = learner.model(pixels)
    torch.testing.assert_close(found[100, 0.9], found[100, None], atol=1e-6, rtol=0)
    assert (found[6, 0.9] - found[6, None]).abs().max() > 1e-5
