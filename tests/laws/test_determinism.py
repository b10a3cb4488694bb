"""One seed gives one result, bit for bit, whatever is watched, measured or prepared ahead; another seed another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from lorastream.backbones.backbone import Backbone
from lorastream.data.sources import load
from lorastream.data.stream import Stream, StreamConfig
from lorastream.data.transforms import TransformConfig, build_transforms
from lorastream.learner import Learner
from lorastream.methods.protocol import learnt_state

METHODS = ["sd_lora", "inf_lora", "ewc_lora"]
TRAINING = {"epochs": 2, "batch_size": 8, "lr": 0.02, "alignment": None}
Outcome = tuple[dict[str, Tensor], list[float]]


@pytest.fixture
def taught(tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream]) -> Callable[..., Outcome]:
    """Teach two tasks; return all tensors and the losses."""

    def teach(method: str, *, measured: bool = False, listen: Any = None, **training: Any) -> Outcome:
        learner = Learner(tiny_backbone(), method, training={**TRAINING, **training}, rank=2)
        learner.listen = listen or learner.listen
        stream, losses = synthetic_stream(tasks=2, images=6), list[float]()
        for task in stream:
            losses += [epoch.loss for epoch in learner.learn(task).epochs]
            if measured:
                learner.evaluate(stream)
        parts = {**learner.model.tensors(), "method": learnt_state(learner.method)}
        return {f"{part}/{name}": t for part, own in parts.items() for name, t in own.items()}, losses

    return teach


def _check_same(one: Outcome, other: Outcome) -> None:
    assert one[1] == other[1]
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(tensor, other[0][name]) for name, tensor in one[0].items())


@pytest.mark.parametrize("method", METHODS)
def test_an_evaluation_a_display_or_a_worker_changes_no_bit(
    taught: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    plain = taught(method)
    _check_same(plain, taught(method, measured=True))
    seen: list[object] = []
    _check_same(plain, taught(method, listen=lambda event: (seen.append(event), torch.rand(3))))
    assert seen
    for user in ("descent", "evaluate"):
        monkeypatch.setattr(f"lorastream.training.{user}.preparing_threads", lambda _device: 2)
    _check_same(plain, taught(method, measured=True))


@pytest.fixture
def _as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("method", METHODS)
def test_deterministic_algorithms_suffice(taught: Callable[..., Outcome], method: str) -> None:
    plain = taught(method, measured=True)
    assert not torch.are_deterministic_algorithms_enabled()
    _check_same(plain, taught(method, measured=True, deterministic=True))
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_three_seeds_give_three_class_orders_and_three_logs(
    tiny_backbone: Callable[[], Backbone], tmp_path: Any
) -> None:
    dataset = load("synthetic", n_classes=6, images_per_class=4, size=16)
    orders, logs = set[tuple[str, ...]](), set[tuple[float, ...]]()
    for seed in (0, 1, 2):
        learner = Learner(tiny_backbone(), "sd_lora", training=TRAINING, rank=2, seed=seed)
        transforms = build_transforms(learner.model.backbone.spec, TransformConfig(train="gentle"))
        config = StreamConfig(tasks=2, order="seed")
        stream = Stream.of(dataset, config=config, seed=seed, transforms=transforms, cache=tmp_path)
        losses = [epoch.loss for task in stream for epoch in learner.learn(task).epochs]
        orders.add(tuple(learner.class_names))
        logs.add(tuple(losses))
    assert len(orders) == len(logs) == 3
