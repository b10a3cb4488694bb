"""Laws on classifier alignment with any method: only the head moves, and the statistics travel with the model.

What a method promises of old head rows (`keeps_past_parameters_fixed`) it promises without alignment, which retrains
all rows by design.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.errors import RecipeError
from lorastream.heads.full_covariance import FullCovariance
from lorastream.learner import Learner

ALIGNMENT = {"samples_per_class": 8, "batch_size": 8, "epochs": 2}
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("sd_lora", {}),
    ("sequential_lora", {}),
    ("lora_sum", {"penalty": "fisher", "weight": 10.0}),
    ("o_lora", {}),
    ("finetune", {}),
    ("joint", {}),
    ("dual_prompt", {}),
    ("coda_prompt", {}),
    ("prompt_routing", {"router_epochs": 2}),
]
Make = Callable[..., Learner]


@pytest.fixture(params=METHODS, ids=[name for name, _ in METHODS])
def make(request: pytest.FixtureRequest, tiny_backbone: Callable[[], Backbone]) -> Make:
    """Return what makes a learner of one method after another, that aligns unless told otherwise."""
    name, options = request.param

    def learner(*, alignment: dict[str, Any] | None = ALIGNMENT, seed: int = 0) -> Learner:
        training = {"epochs": 1, "batch_size": 8, "lr": 0.05, "optimiser": "sgd", "alignment": alignment}
        return Learner(tiny_backbone(), name, training=training, seed=seed, **options)

    return learner


@pytest.fixture
def stream(synthetic_stream: Callable[..., Stream]) -> Stream:
    return synthetic_stream(tasks=3, images=6)


def _teach(learner: Learner, stream: Stream, tasks: range) -> Learner:
    for index in tasks:
        learner.learn(stream[index] if learner.method.traits.exemplar_free else stream.joined(index))
    return learner


def _logits(learner: Learner, pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return learner.model(pictures)


def _bodies(learner: Learner) -> dict[str, Tensor]:
    """Return everything but the head and the statistics."""
    state = learner.model.backbone.state_dict()
    return {name: tensor.clone() for name, tensor in state.items()}


def test_the_first_task_is_learnt_as_without(make: Make, stream: Stream, pictures: Tensor) -> None:
    aligned, plain = (_teach(make(alignment=own), stream, range(1)) for own in (ALIGNMENT, None))
    assert torch.equal(_logits(aligned, pictures), _logits(plain, pictures))


def test_backbone_and_adapters_stay_bit_identical_and_every_row_moves(make: Make, stream: Stream) -> None:
    aligned, plain = (_teach(make(alignment=own), stream, range(1)) for own in (ALIGNMENT, None))
    for learner in (aligned, plain):
        _teach(learner, stream, range(1, 2))
    bodies, expected = _bodies(aligned), _bodies(plain)
    assert bodies.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in bodies.items())
    rows, before = aligned.model.head.tensors()["weight"], plain.model.head.tensors()["weight"]
    assert (rows != before).any(dim=1).all()


def test_statistics_are_those_of_the_features_after_the_task(make: Make, stream: Stream) -> None:
    learner = _teach(make(), stream, range(2))
    statistics = learner.model.statistics
    assert isinstance(statistics, FullCovariance)
    assert statistics.n_classes == 4
    passes = list(learner.model.passes(stream[1].train, features=learner.model.features_of_newest))
    features, labels = torch.cat([f for _, f in passes]), torch.cat([batch.labels for batch, _ in passes])
    for label in stream[1].classes:
        own = features[labels == label].double().numpy()
        np.testing.assert_allclose(statistics.means[label].numpy(), own.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(statistics.covariances[label].numpy(), np.cov(own, rowvar=False), atol=1e-5)


def test_merged_is_unmerged(make: Make, stream: Stream, pictures: Tensor) -> None:
    learner = _teach(make(), stream, range(2))
    before = _logits(learner, pictures)
    with learner.model.merged():
        torch.testing.assert_close(_logits(learner, pictures), before, atol=1e-5, rtol=0)


def test_saved_and_loaded_it_learns_on_alike(make: Make, stream: Stream, pictures: Tensor, model_folder: Path) -> None:
    learner = _teach(make(), stream, range(2))
    learner.save(model_folder)
    loaded = Learner.load(model_folder, backbone=make().model.backbone)
    assert torch.equal(_logits(loaded, pictures), _logits(learner, pictures))
    for one in (learner, loaded):
        _teach(one, stream, range(2, 3))
    assert torch.equal(_logits(loaded, pictures), _logits(learner, pictures))


def test_statistics_count_as_stored(make: Make, stream: Stream) -> None:
    aligned, plain = (_teach(make(alignment=own), stream, range(2)) for own in (ALIGNMENT, None))
    added = aligned.model.stored_bytes() - plain.model.stored_bytes()
    assert added == 4 * 4 * (32 + 32 * 32)  # four classes, float32, d + d² numbers
    assert plain.model.statistics is None


def test_same_seed_same_head_and_the_global_generator_is_left_alone(make: Make, stream: Stream) -> None:
    state = torch.random.get_rng_state()
    heads = [_teach(make(), stream, range(2)).model.head.tensors()["weight"] for _ in range(2)]
    assert torch.equal(*heads)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_method_without_a_linear_head_is_refused_before_anything_is_learnt(
    tiny_backbone: Callable[[], Backbone],
) -> None:
    with pytest.raises(
        RecipeError, match=r"(?s)training\.alignment.*linear head.*prototypes, which has a prototype head"
    ):
        Learner(tiny_backbone(), "prototypes", training={"alignment": {}})


def test_classes_learnt_without_statistics_are_found_out_before_the_next_task(
    tiny_backbone: Callable[[], Backbone], stream: Stream
) -> None:
    learner = Learner(tiny_backbone(), "sequential_lora", training={"epochs": 0})
    learner.learn(stream[0])
    learner.training = learner.training.model_validate({"epochs": 0, "alignment": {}})
    with pytest.raises(RecipeError, match=r"(?s)statistics of the 2 classes.*of 0 classes.*from the first task on"):
        learner.learn(stream[1])
    assert learner.model.n_classes == 2
