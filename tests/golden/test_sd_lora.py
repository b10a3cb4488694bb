"""The checklist for SD-LoRA, items 1 to 6 of section 8 of the specification, against formulas computed apart.

1. Only the query and the value rows of a fused projection change.
2. At step 0 of task 1 the outputs are the frozen network's; at step 0 of a later task, as in the released code, those
   of the network with 0.8 U_i D_i / (‖U_i‖ ‖D_i‖) added for every past task i.
3. 368,640 parameters and the magnitudes learn, beside the head, on ViT-B/16 at rank 10.
4. Old head rows are bit-identical after later tasks.
5. The gradient of a magnitude is the sum over all adapted matrices of <dL/dW, D_i>.
6. Merged is unmerged.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from lorastream import methods
from lorastream.backbones.backbone import Backbone
from lorastream.backbones.projections import find_projections
from lorastream.data.stream import Stream
from lorastream.data.transforms import InputSpec
from lorastream.learner import Learner
from lorastream.linalg.norms import factor_norms, product_norm
from lorastream.methods.protocol import learnt_parameters
from lorastream.model import IncrementalClassifier

TRAINING = {"epochs": 2, "batch_size": 8, "lr": 0.1}
WIDTH = 32
ALPHA = 0.8


@pytest.fixture
def stream(synthetic_stream: Callable[..., Stream]) -> Stream:
    return synthetic_stream(tasks=3)


@pytest.fixture
def learner(tiny_backbone: Callable[[], Backbone], stream: Stream) -> Learner:
    """Return a learner that knows two tasks."""
    learner = Learner(tiny_backbone(), "sd_lora", training=TRAINING, rank=4)
    for index in range(2):
        learner.learn(stream[index])
    return learner


@pytest.fixture
def images(stream: Stream) -> Tensor:
    return next(iter(stream[2].test.batches(20))).images


def _begin(learner: Learner, task: Any) -> None:
    learner.model.grow(task.class_names)
    learner.method.before_task(learner.model, task)


def _directions(learner: Learner) -> dict[str, list[Tensor]]:
    """Return U_i D_i / (‖U_i‖ ‖D_i‖) of every task, in float64, by projection."""
    return {
        name: [
            up.double() @ down.double() / (torch.linalg.norm(up.double()) * torch.linalg.norm(down.double()))
            for up, down in adapter.factors()
        ]
        for name, adapter in learner.model.adapters.items()
    }


def _rows(name: str) -> slice:
    """Return the rows of a fused weight: query first, value last."""
    return slice(0, WIDTH) if name.endswith("/query") else slice(2 * WIDTH, 3 * WIDTH)


def _plain(network: VisionTransformer, moved: dict[str, Tensor], images: Tensor) -> Tensor:
    """Return the features of a plain network in float64 with these updates added to its fused weights."""
    network = network.double()
    with torch.no_grad():
        for name, update in moved.items():
            weight = network.get_submodule(name.partition("/")[0]).weight
            weight[_rows(name)] += update  # pyright: ignore[reportIndexIssue, reportArgumentType, reportOperatorIssue]
        return network(images.double())


def test_1_only_query_and_value_rows_change(
    learner: Learner, tiny_backbone: Callable[[], Backbone], images: Tensor
) -> None:
    learner.model.backbone.double()
    plain = tiny_backbone().network.double().blocks[0].attn.qkv
    tokens = images.double().reshape(20, -1, WIDTH)
    with torch.no_grad():
        adapted = learner.model.backbone.network.blocks[0].attn.qkv(tokens)
    query, key, value = (adapted - plain(tokens)).split(WIDTH, dim=-1)
    assert torch.equal(key, torch.zeros_like(key))
    assert query.abs().max() > 1e-4
    assert value.abs().max() > 1e-4


def test_2_task_1_begins_as_the_frozen_network(
    tiny_backbone: Callable[[], Backbone], stream: Stream, images: Tensor
) -> None:
    learner = Learner(tiny_backbone(), "sd_lora", training=TRAINING)
    _begin(learner, stream[0])
    with torch.no_grad():
        assert torch.equal(learner.model.features(images), tiny_backbone()(images))


def test_2_a_later_task_begins_with_every_past_direction_at_its_initial_magnitude(
    learner: Learner, tiny_backbone: Callable[[], Backbone], stream: Stream, images: Tensor
) -> None:
    moved = {name: ALPHA * (first + second) for name, (first, second) in _directions(learner).items()}
    expected = _plain(tiny_backbone().network, moved, images)
    with torch.no_grad():
        ended = learner.model.features(images)
        _begin(learner, stream[2])
        begun = learner.model.features(images)
    torch.testing.assert_close(begun.double(), expected, atol=1e-5, rtol=1e-5)
    assert (begun - ended).abs().max() > 1e-3, "the released code jumps when a task begins"


def test_2_a_generic_past_update_restarts_at_the_norm_that_the_specification_states() -> None:
    """‖U D‖ / (‖U‖ ‖D‖) is near 1/√r = 0.316 at rank 10: it restarts with a norm of 0.8 · 0.316 ≈ 0.25 (D1, D4)."""
    generator = torch.Generator().manual_seed(0)
    up, down = torch.randn(768, 10, generator=generator), torch.rand(10, 768, generator=generator) - 0.5
    ratio = product_norm(up, down) / factor_norms(up, down)
    assert ratio.item() == pytest.approx(10**-0.5, rel=0.02)
    assert ALPHA * ratio.item() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(("task", "magnitudes"), [(0, 1), (2, 3)])
def test_3_trainable_parameters_on_vit_base(task: int, magnitudes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 blocks · 2 projections · (down 10 · 768 + up 768 · 10) = 368,640; and one magnitude a task (the code: 21)."""
    monkeypatch.setattr("lorastream.backbones.backbone.weights_sha256", lambda _: "no numbers to hash")
    with torch.device("meta"):
        network = VisionTransformer(num_classes=0)
    assert sum(p.numel() for p in network.parameters()) == 85_798_656  # ViT-B/16 without its classifier
    spec = InputSpec(image_size=224, mean=(0.5,) * 3, std=(0.5,) * 3)
    backbone = Backbone(network, spec=spec, width=768, projections=find_projections(network), name="meta")
    model, method = IncrementalClassifier(backbone), methods.build("sd_lora", {"rank": 10})
    for index in range(task + 1):
        stand_in: Any = SimpleNamespace(index=index, class_names=[f"{index}.{k}" for k in range(10)])
        if index:
            method.after_task(model, stand_in)
        model.grow(stand_in.class_names)
        method.before_task(model, stand_in)
    head = {id(p) for p in model.head.parameters()}
    assert sum(p.numel() for p in model.learning() if id(p) not in head) == 368_640
    assert sum(p.numel() for p in model.learning() if id(p) in head) == 10 * 768 + 10
    assert sum(p.numel() for p in learnt_parameters(method)) == magnitudes


def test_4_old_head_rows_are_bit_identical_after_a_later_task(learner: Learner, stream: Stream) -> None:
    before = learner.model.head.tensors()
    learner.learn(stream[2])
    after = learner.model.head.tensors()
    assert len(after["bias"]) == 6
    assert all(torch.equal(after[name][:4], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("norm", ["product", "exact"])
def test_5_the_gradient_of_a_magnitude_is_the_sum_over_all_matrices(
    tiny_backbone: Callable[[], Backbone], stream: Stream, images: Tensor, norm: str
) -> None:
    learner = Learner(tiny_backbone(), "sd_lora", training=TRAINING, rank=4, norm=norm)
    for index in range(2):
        learner.learn(stream[index])
    _begin(learner, stream[2])
    model = learner.model.double()
    with torch.no_grad():
        for adapter in model.adapters:
            adapter.up.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))  # pyright: ignore[reportOptionalMemberAccess]
    loss = F.cross_entropy(model(images.double()), torch.arange(20) % 6)
    magnitudes: Any = learner.method.magnitudes_  # pyright: ignore[reportAttributeAccessIssue]
    (found,) = torch.autograd.grad(loss, [magnitudes])

    gradients = _dense_gradients(model, tiny_backbone().network.double(), images.double())
    assert len(gradients) == 4
    for task in range(3):
        expected = torch.zeros((), dtype=torch.float64)
        for name, adapter in model.adapters.items():
            up, down = list(adapter.factors())[task]
            divisor = torch.linalg.norm(up) * torch.linalg.norm(down) if norm == "product" else (up @ down).norm()
            direction = up @ down / (divisor if task < 2 else 1.0)
            expected += (gradients[name] * direction).sum()
        torch.testing.assert_close(found[task].double(), expected, atol=1e-7, rtol=1e-5)


def _dense_gradients(model: IncrementalClassifier, plain: VisionTransformer, images: Tensor) -> dict[str, Tensor]:
    """Return dL/dW of every adapted matrix by autograd on a plain network whose weights are the composed ones."""
    with torch.no_grad():
        for name, adapter in model.adapters.items():
            plain.get_submodule(name.partition("/")[0]).weight[_rows(name)] += adapter.delta()  # pyright: ignore[reportIndexIssue, reportArgumentType, reportOperatorIssue]
    weights = {f"blocks.{block}.attn.qkv": plain.blocks[block].attn.qkv.weight.requires_grad_() for block in (0, 1)}  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]
    loss = F.cross_entropy(model.head(plain(images)), torch.arange(20) % 6)
    dense = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
    return {name: dense[name.partition("/")[0]][_rows(name)] for name, _ in model.adapters.items()}


def test_6_merged_is_unmerged(learner: Learner, tiny_backbone: Callable[[], Backbone], images: Tensor) -> None:
    model = learner.model
    with torch.no_grad():
        unmerged = model(images)
        with model.merged():
            plain = tiny_backbone().network
            plain.load_state_dict(model.backbone.network.state_dict())
            torch.testing.assert_close(model.head(plain(images)), unmerged, atol=1e-5, rtol=0)
