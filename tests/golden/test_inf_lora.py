"""The checklist for InfLoRA, items 1, 2, 3, 6 and 7 of section 8 of the specification (8: `test_dual_gpm`).

1. Only the key and the value rows of a fused projection change.
2. At step 0 of task 1 the outputs are the frozen network's, at step 0 of a later task those of the task before.
3. 184,320 parameters learn, beside the head, on ViT-B/16 at rank 10.
6. Merged is unmerged, and folding changes nothing.
7. Rows of down have norm 1/√3 (code) or 1 (paper); D M = 0; after training (W_t - W_{t-1}) M = 0, in both modes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from lorastream import methods
from lorastream.backbones.backbone import Backbone
from lorastream.backbones.projections import find_projections
from lorastream.data.stream import Stream
from lorastream.data.transforms import InputSpec
from lorastream.learner import Learner
from lorastream.linalg.dual_gpm import FreeSpace
from lorastream.methods.inf_lora import InfLoRA
from lorastream.model import IncrementalClassifier

TRAINING = {"epochs": 2, "batch_size": 8, "lr": 0.1}
WIDTH = 32
REMOVE = {"threshold": 0.9, "tasks": 3}
RETAIN = {"threshold": 0.97, "tasks": 3, "energy": "eigenvalues"}
MODES = pytest.mark.parametrize(("options", "mode"), [(REMOVE, "remove"), (RETAIN, "retain")])


@pytest.fixture
def stream(synthetic_stream: Callable[..., Stream]) -> Stream:
    return synthetic_stream(tasks=3)


@pytest.fixture
def taught(tiny_backbone: Callable[[], Backbone], stream: Stream) -> Callable[..., Learner]:
    """Make a learner that knows some tasks."""

    def make(n_tasks: int = 2, /, **options: Any) -> Learner:
        learner = Learner(tiny_backbone(), "inf_lora", training=TRAINING, **{"rank": 4, **options})
        for index in range(n_tasks):
            learner.learn(stream[index])
        return learner

    return make


@pytest.fixture
def images(stream: Stream) -> Tensor:
    return next(iter(stream[2].test.batches(20))).images


def _begin(learner: Learner, task: Any) -> None:
    learner.model.grow(task.class_names)
    learner.method.before_task(learner.model, task)


def _protected(learner: Learner, layer: str) -> Tensor:
    """Return a basis of what is protected, `[d, p]`, in float64, from what is stored."""
    method: Any = learner.method
    if layer in method.protected_:
        return method.protected_[layer].double()
    free = method.free_[layer].double()
    return torch.linalg.qr(free, mode="complete")[0][:, free.shape[1] :]


def _weights(learner: Learner) -> dict[str, Tensor]:
    """Return the weight of every adapted layer with all updates in it, `[3 d, d]`, in float64."""
    return {name: one.composed_weight(torch.float64) for name, one in learner.model.adapters.layers.items()}


def test_1_only_key_and_value_rows_change(
    taught: Callable[..., Learner], tiny_backbone: Callable[[], Backbone]
) -> None:
    for name, weight in _weights(taught()).items():
        plain: Any = tiny_backbone().network.get_submodule(name).weight
        query, key, value = (weight - plain.double()).split(WIDTH)
        assert torch.equal(query, torch.zeros_like(query))
        assert key.abs().max() > 1e-4
        assert value.abs().max() > 1e-4


def test_2_task_1_begins_as_the_frozen_network(
    taught: Callable[..., Learner], tiny_backbone: Callable[[], Backbone], stream: Stream, images: Tensor
) -> None:
    learner = taught(0)
    _begin(learner, stream[0])
    with torch.no_grad():
        assert torch.equal(learner.model.features(images), tiny_backbone()(images))


@MODES
def test_2_a_later_task_begins_where_the_last_one_ended(
    taught: Callable[..., Learner], stream: Stream, images: Tensor, options: dict[str, Any], mode: str
) -> None:
    learner = taught(**options)
    with torch.no_grad():
        ended = learner.model.features(images)
        _begin(learner, stream[2])
        assert torch.equal(learner.model.features(images), ended)
    del mode


@pytest.mark.parametrize(("blocks", "learning"), [(None, 184_320), (5, 76_800)])
def test_3_trainable_parameters_on_vit_base(blocks: int | None, learning: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 blocks · 2 projections · up 768 · 10 = 184,320 (5 blocks: 76,800); with 10 classes' head 192,010 (its log)."""
    monkeypatch.setattr("lorastream.backbones.backbone.weights_sha256", lambda _: "no numbers to hash")
    with torch.device("meta"):
        network = VisionTransformer(num_classes=0)
    spec = InputSpec(image_size=224, mean=(0.5,) * 3, std=(0.5,) * 3)
    backbone = Backbone(network, spec=spec, width=768, projections=find_projections(network), name="meta")
    model, method = IncrementalClassifier(backbone), methods.build("inf_lora", {"blocks": blocks})
    whole = torch.eye(768, device="meta")
    space = FreeSpace(protected=whole[:, :0], directions=whole, shares=whole[0])
    monkeypatch.setattr(
        InfLoRA, "_free_spaces", lambda _self, model, _task, **_: dict.fromkeys(model.adapters.layers, space)
    )
    task: Any = SimpleNamespace(index=0)
    model.grow([f"class {k}" for k in range(10)])
    method.before_task(model, task)
    head = {id(p) for p in model.head.parameters()}
    assert sum(p.numel() for p in model.learning() if id(p) not in head) == learning
    assert sum(p.numel() for p in model.learning()) == learning + 10 * 769


@MODES
def test_6_merged_and_folded_are_unmerged(
    taught: Callable[..., Learner],
    tiny_backbone: Callable[[], Backbone],
    images: Tensor,
    options: dict[str, Any],
    mode: str,
) -> None:
    learner = taught(3, **options)
    assert {layer["mode"] for layer in learner.method.figures(learner.model)["layers"].values()} == {mode}  # pyright: ignore[reportAttributeAccessIssue]
    assert learner.model.adapters.ranks == []
    with torch.no_grad():
        unmerged = learner.model(images)
        with learner.model.merged():
            plain = tiny_backbone().network
            plain.load_state_dict(learner.model.backbone.network.state_dict())
            torch.testing.assert_close(learner.model.head(plain(images)), unmerged, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("row_scale", "norm"), [(None, 3**-0.5), (1.0, 1.0)])
@MODES
def test_7_rows_have_their_norm_and_do_not_see_what_is_protected(
    taught: Callable[..., Learner],
    stream: Stream,
    options: dict[str, Any],
    mode: str,
    row_scale: float | None,
    norm: float,
) -> None:
    learner = taught(**options, **({} if row_scale is None else {"row_scale": row_scale}))
    _begin(learner, stream[2])
    for name, adapter in learner.model.adapters.items():
        layer = name.rpartition("/")[0]
        ((up, down),) = adapter.factors()
        expected = torch.eye(len(down), dtype=torch.float64) * norm**2
        torch.testing.assert_close(down.double() @ down.double().mT, expected, atol=1e-5, rtol=0)
        assert (down.double() @ _protected(learner, layer)).abs().max() < 1e-5
        assert not up.any()
    stored: Any = learner.method
    assert bool(stored.free_) is (mode == "retain")
    assert bool(stored.protected_) is (mode == "remove")


@MODES
def test_7_training_leaves_what_is_protected_as_it_was(
    taught: Callable[..., Learner], stream: Stream, options: dict[str, Any], mode: str
) -> None:
    learner = taught(**options)
    before = {name: weight.clone() for name, weight in _weights(learner).items()}
    protected = {name: _protected(learner, name) for name in before}
    learner.learn(stream[2])
    for name, weight in _weights(learner).items():
        moved = weight - before[name]
        assert moved.abs().max() > 1e-4
        assert (moved @ protected[name]).abs().max() < 1e-5
        half = WIDTH // 2
        assert protected[name].shape[1] < half if mode == "remove" else half <= protected[name].shape[1] < WIDTH
