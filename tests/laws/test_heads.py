"""Laws on heads and statistics with any method: saved, merged, taught on alike; or refused before learning."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.data.task import Task
from lorastream.errors import RecipeError
from lorastream.heads import features_by_class
from lorastream.learner import Learner

ANGLES = {"scale": 16.0, "margin": 0.1}
COSINE = {"kind": "cosine", **ANGLES}
DISCRIMINANT = {"kind": "discriminant", **ANGLES}
ALIGNMENT = {"samples_per_class": 8, "batch_size": 8, "epochs": 2}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("sd_lora", {"alignment": {**ALIGNMENT, "drift": "shift", "covariance": "low_rank", "covariance_rank": 4}}),
    ("sequential_lora", {"alignment": {**ALIGNMENT, "drift": "linear", "covariance": "shared"}}),
    ("lora_sum", {"alignment": {**ALIGNMENT, "drift": "class_shift", "drift_spread": 0.5, "covariance": "diagonal"}}),
    ("finetune", {"alignment": None}),
    ("sd_lora_plus", {"head": {**DISCRIMINANT, "start": "class_means"}}),
    ("sequential_lora", {"head": DISCRIMINANT, "alignment": {"covariance": "full", "drift": "linear"}}),
]
Make = Callable[..., Learner]


@pytest.fixture(params=CASES, ids=[f"{name}-{training.get('head', COSINE)['kind']}" for name, training in CASES])
def make(request: pytest.FixtureRequest, tiny_backbone: Callable[[], Backbone]) -> Make:
    """Return what makes a learner of one method after another, with a head that learns on angles."""
    name, training = request.param

    def learner(**further: Any) -> Learner:
        training_of_all = {"epochs": 1, "batch_size": 8, "lr": 0.05, "head": COSINE, "backbone_rate": 0.3}
        return Learner(tiny_backbone(), name, training={**training_of_all, **training, **further})

    return learner


@pytest.fixture
def stream(synthetic_stream: Callable[..., Stream]) -> Stream:
    return synthetic_stream(tasks=3, images=6)


def _logits(learner: Learner, pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return learner.model(pictures)


def test_saved_and_loaded_it_learns_on_alike_and_merged_it_answers_alike(
    make: Make, stream: Stream, pictures: Tensor, tmp_path: Path
) -> None:
    learner = make()
    learner.learn(stream[0])
    learnt = learner.learn(stream[1])
    if learner.training.alignment is not None:
        assert learnt.figures["drift"]["form"] == learner.training.alignment.drift
        assert learnt.figures["statistics"]["of_one_image"] == []
    before = _logits(learner, pictures)
    assert learner.model.head_kind != "cosine" or before.abs().max() <= 16 + 1e-4
    with learner.model.merged():
        torch.testing.assert_close(_logits(learner, pictures), before, atol=1e-4, rtol=0)
    loaded = Learner.load(learner.save(tmp_path / "model"), backbone=make().model.backbone)
    assert torch.equal(_logits(loaded, pictures), before)
    for one in (learner, loaded):
        one.learn(stream[2])
    assert torch.equal(_logits(loaded, pictures), _logits(learner, pictures))


def test_the_margin_is_in_the_loss_and_not_in_the_answers(make: Make, stream: Stream) -> None:
    learner = make(epochs=0)
    learner.learn(stream[0])
    batch = next(iter(stream[0].train.batches(6)))
    with torch.no_grad():
        learner.method.before_task(learner.model, stream[0])
        loss = float(learner.method.loss(learner.model, batch, stream[0]))
        logits = learner.model(batch.images, learning=True)
        logits[torch.arange(6), batch.labels] -= 16 * 0.1
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, batch.labels)), rel=1e-5)


def _directions(learner: Learner, task: Task) -> Tensor:
    """Return `[classes of the task, d]`: the means of its features at unit length, at unit length."""
    found = features_by_class(learner.model.passes(task.train), task.classes)
    return normalize(torch.stack([normalize(own, dim=1).mean(dim=0) for own in found]), dim=1)


def test_rows_begin_at_class_means_of_the_network_that_takes_the_first_step(make: Make, stream: Stream) -> None:
    """Without a step they still are there, for every head on angles; old rows are as they were."""
    learner = make(epochs=0, alignment=None, head={**COSINE, "start": "class_means"})
    for task in (stream[0], stream[1]):
        learner.learn(task)
        rows = learner.model.head.tensors()["weight"]
        torch.testing.assert_close(rows[task.first_class :], _directions(learner, task), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows[: stream[1].first_class], _directions(learner, stream[0]), atol=1e-5, rtol=0)


def test_all_rows_of_joint_begin_at_class_means(stream: Stream, tiny_backbone: Callable[[], Backbone]) -> None:
    head = {"kind": "cosine", "start": "class_means"}
    learner = Learner(tiny_backbone(), "joint", training={"epochs": 0, "head": head})
    learner.learn(stream.joined(0))
    learner.learn(stream.joined(1))
    expected = _directions(learner, stream.joined(1))
    torch.testing.assert_close(learner.model.head.tensors()["weight"], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_method_whose_head_has_no_rows_is_refused(kind: str, tiny_backbone: Callable[[], Backbone]) -> None:
    with pytest.raises(RecipeError, match=r"(?s)training\.head.*linear head.*prototypes, which has a prototype head"):
        Learner(
            tiny_backbone(),
            "prototypes",
            training={"head": {"kind": kind}},
        )


def test_a_head_stays_of_its_kind_for_the_life_of_a_model(
    tiny_backbone: Callable[[], Backbone], stream: Stream
) -> None:
    learner = Learner(tiny_backbone(), "sequential_lora", training={"epochs": 0})
    learner.learn(stream[0])
    learner.training = learner.training.model_validate({"epochs": 0, "head": {"kind": "cosine"}})
    with pytest.raises(RecipeError, match=r"(?s)training\.head\.kind.*begun with: linear.*cosine"):
        learner.learn(stream[1])
    assert learner.model.n_classes == 2


def test_the_backbone_learns_slower_from_the_second_task_on(
    tiny_backbone: Callable[[], Backbone], stream: Stream
) -> None:
    moved: dict[float, list[Tensor]] = {}
    for rate in (1.0, 0.5):
        training = {"epochs": 1, "batch_size": 100, "lr": 0.1, "momentum": 0.0, "backbone_rate": rate}
        learner = Learner(tiny_backbone(), "sequential_lora", training=training)
        ups: list[Tensor] = [torch.zeros(())]
        for index in range(2):
            learner.learn(stream[index])
            ups.append(learner.model.adapters.tensors()["blocks.0.attn.qkv/query/up"])
        moved[rate] = [after - before for before, after in pairwise(ups)]
    assert torch.equal(moved[1.0][0], moved[0.5][0])
    torch.testing.assert_close(moved[1.0][1] * 0.5, moved[0.5][1], atol=1e-7, rtol=1e-3)
