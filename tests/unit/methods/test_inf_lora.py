"""Every option of InfLoRA designs, protects and stores what it says, worked out apart from the layers' own inputs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lorastream import methods
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.data.task import TaskImages
from lorastream.errors import AdapterError, MethodError
from lorastream.learner import Learner

WIDTH = 32
LAYERS = ["blocks.0.attn.qkv", "blocks.1.attn.qkv"]
RETAIN = {"threshold": 0.97, "tasks": 3, "energy": "eigenvalues"}


@pytest.fixture
def stream(synthetic_stream: Callable[..., Stream]) -> Stream:
    return synthetic_stream(tasks=3)


@pytest.fixture
def taught(tiny_backbone: Callable[[], Backbone], stream: Stream) -> Callable[..., Any]:
    """Make a learner that knows some tasks."""

    def make(n_tasks: int, /, *, lr: float = 0.1, **options: Any) -> Any:
        training = {"epochs": 2, "batch_size": 8, "lr": lr}
        learner = Learner(tiny_backbone(), "inf_lora", training=training, **{"rank": 3, **options})
        for index in range(n_tasks):
            learner.learn(stream[index])
        return learner

    return make


def _begin(learner: Any, task: Any) -> None:
    learner.model.grow(task.class_names)
    learner.method.before_task(learner.model, task)


def _moment(learner: Any, layer: str, images: TaskImages, epoch: int | None) -> np.ndarray:
    """Return (1/n) sum x x' of a layer's inputs, `[d, d]`, in float64, one image after another."""
    rows: list[Tensor] = []
    hook = learner.model.backbone.network.get_submodule(layer).register_forward_pre_hook(
        lambda _module, inputs: rows.append(inputs[0].reshape(-1, WIDTH).double())
    )
    with torch.no_grad():
        for batch in images.batches(1, epoch=epoch):
            learner.model.features(batch.images)
    hook.remove()
    inputs = torch.cat(rows).numpy()
    assert len(inputs) == 5 * len(images)  # four patches and the class token
    return inputs.T @ inputs / len(inputs)


def _projection(rows: np.ndarray) -> np.ndarray:
    return rows.T @ np.linalg.pinv(rows.T)


def _stored(learner: Any, layer: str) -> np.ndarray:
    """Return the projection on what is protected, `[d, d]`."""
    if layer in learner.method.protected_:
        basis = learner.method.protected_[layer].double().numpy()
        return basis @ basis.T
    basis = learner.method.free_[layer].double().numpy()
    return np.eye(WIDTH) - basis @ basis.T


@pytest.mark.parametrize(("augmented", "epoch"), [(True, 0), (False, None)])
@pytest.mark.parametrize("reading", ["eigenvalues", "squared_eigenvalues"])
def test_the_design_is_the_strongest_inputs_outside_of_what_is_protected(
    taught: Any, stream: Stream, augmented: bool, epoch: int | None, reading: str
) -> None:
    """Rows are the left singular vectors of P C (code), or the eigenvectors of P C P (paper), times 1/√3."""
    learner = taught(1, augmented_statistics=augmented, energy=reading, threshold=0.8)
    outside = {layer: np.eye(WIDTH) - _stored(learner, layer) for layer in LAYERS}
    moments = {layer: _moment(learner, layer, stream[1].train, epoch) for layer in LAYERS}
    _begin(learner, stream[1])
    for layer in LAYERS:
        seen = outside[layer] @ moments[layer] @ (outside[layer] if reading == "eigenvalues" else np.eye(WIDTH))
        strongest = np.linalg.svd(seen)[0][:, :3].T
        key, value = (learner.model.adapters.layers[layer].adapters[part].down for part in ("key", "value"))
        assert torch.equal(key, value)
        rows = key.detach().double().numpy() * math.sqrt(3)
        np.testing.assert_allclose(np.abs(rows @ strongest.T), np.eye(3), atol=2e-3)


@pytest.mark.parametrize(("augmented", "epoch"), [(True, 1), (False, None)])
def test_what_is_protected_is_what_the_task_uses_with_its_new_weights(
    taught: Any, stream: Stream, augmented: bool, epoch: int | None
) -> None:
    """The first singular vectors of C whose squared values together stay below the threshold.

    The old weights, and the images as augmented in another epoch, would give something else at the second layer.
    """
    learner = taught(1, augmented_statistics=augmented, threshold=0.9, lr=1.0)
    for layer in LAYERS:
        strongest = _strongest(_moment(learner, layer, stream[0].train, epoch), 0.9)
        assert learner.method.protected_[layer].shape == (WIDTH, len(strongest))
        np.testing.assert_allclose(_stored(learner, layer), _projection(strongest), atol=1e-4)
    others = [(taught(0), epoch), (learner, 0)]
    for other, its_epoch in others:
        elsewhere = _projection(_strongest(_moment(other, LAYERS[1], stream[0].train, its_epoch), 0.9))
        assert np.abs(_stored(learner, LAYERS[1]) - elsewhere).max() > 1e-3


def _strongest(moment: np.ndarray, threshold: float) -> np.ndarray:
    """Return the first left singular vectors, as rows, whose squared values together stay below a threshold."""
    left, values, _ = np.linalg.svd(moment)
    share = (values**2).cumsum() / (values**2).sum()
    return left[:, : max(int((share < threshold).sum()), 1)].T


@pytest.mark.parametrize("options", [{}, RETAIN, {"memory": "plain"}], ids=str)
def test_the_finished_update_is_folded_and_what_is_stored_does_not_grow(
    taught: Any, stream: Stream, options: dict[str, Any]
) -> None:
    """W_t - W_{t-1} is U_t D_t; no update is told apart afterwards."""
    learner = taught(2, **options)
    adapters, before = learner.model.adapters, learner.model.stored_bytes()
    past = [adapter.delta() for adapter in adapters]
    _begin(learner, stream[2])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for adapter in adapters:
            adapter.up.normal_(0, 0.1, generator=generator)
    expected = [old + adapter.up @ adapter.down for old, adapter in zip(past, adapters, strict=True)]
    learner.method.after_task(learner.model, stream[2])
    for adapter, delta in zip(adapters, expected, strict=True):
        torch.testing.assert_close(adapter.delta(), delta.detach(), atol=1e-6, rtol=0)
    assert adapters.ranks == []
    head_rows = 2 * (WIDTH + 1) * 4
    assert learner.model.stored_bytes() - before == head_rows


def test_what_learns_is_up_and_the_newest_rows(taught: Any, stream: Stream) -> None:
    learner = taught(2)
    _begin(learner, stream[2])
    ups = [adapter.up for adapter in learner.model.adapters]
    rows = [learner.model.head.weights[2], learner.model.head.biases[2]]
    assert {id(p) for p in learner.model.learning()} == {id(p) for p in [*ups, *rows]}
    assert all(not up.any() for up in ups)


def test_only_the_first_blocks_take_updates(taught: Any) -> None:
    learner = taught(2, blocks=1)
    assert list(learner.model.adapters.layers) == LAYERS[:1]
    assert list(learner.method.protected_) == LAYERS[:1]


def test_dual_and_plain_memory_protect_and_learn_the_same(taught: Any, stream: Stream) -> None:
    """They differ in which basis is stored, and at most half of one by the dual."""
    dual, plain = taught(3, **RETAIN), taught(3, **RETAIN, memory="plain")
    assert list(dual.method.free_) == list(plain.method.protected_) == LAYERS
    assert not dual.method.protected_
    assert not plain.method.free_
    images = next(iter(stream[1].test.batches(20))).images
    for layer in LAYERS:
        assert dual.method.free_[layer].shape[1] + plain.method.protected_[layer].shape[1] == WIDTH
        assert dual.method.free_[layer].shape[1] <= WIDTH / 2
        np.testing.assert_allclose(_stored(dual, layer), _stored(plain, layer), atol=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(dual.model(images), plain.model(images), atol=1e-3, rtol=0)


def test_a_layer_stores_one_basis_and_switches_one_way(taught: Any, stream: Stream) -> None:
    learner = taught(0, threshold=0.85, last_threshold=1.0, tasks=3, energy="eigenvalues")
    modes: list[str] = []
    for index in range(3):
        learner.learn(stream[index])
        assert len(learner.method.protected_) + len(learner.method.free_) == len(LAYERS)
        found = learner.method.figures(learner.model)["layers"][LAYERS[1]]
        modes.append(found["mode"])
        assert found["protected"] <= WIDTH / 2 if found["mode"] == "remove" else found["protected"] >= WIDTH / 2
    assert modes == sorted(modes)  # "remove" comes before "retain"
    assert set(modes) == {"remove", "retain"}


def test_reaching_the_threshold_at_the_first_task_takes_one_direction_more(taught: Any) -> None:
    below, reached = (taught(1, first_task=reading, threshold=0.9) for reading in ("below", "reached"))
    for layer in LAYERS:
        assert reached.method.protected_[layer].shape[1] == below.method.protected_[layer].shape[1] + 1
        assert float(below.method.captured_[layer]) < 0.9 <= float(reached.method.captured_[layer])


@pytest.mark.parametrize("options", [{"threshold": 0.9, "tasks": 2}, RETAIN], ids=str)
def test_figures_for_the_record(taught: Any, options: dict[str, Any]) -> None:
    """The threshold rises over `tasks` tasks and then stays; enough is captured after every task but the first."""
    learner = taught(3, **options)
    figures = json.loads(json.dumps(learner.method.figures(learner.model)))
    assert figures["threshold"] == pytest.approx({2: 0.95, 3: 0.99}[options["tasks"]])
    assert list(figures["layers"]) == LAYERS
    for layer, found in figures["layers"].items():
        assert found["mode"] == ("retain" if options == RETAIN else "remove")
        assert found["protected"] == round(np.trace(_stored(learner, layer)))
        assert figures["threshold"] - 1e-9 <= found["captured"] <= 1


@pytest.mark.parametrize("options", [{}, RETAIN, {"threshold": 1.0}], ids=str)
def test_saved_in_the_middle_of_a_stream_it_goes_on_alike(
    taught: Any, stream: Stream, tiny_backbone: Callable[[], Backbone], tmp_path: Path, options: dict[str, Any]
) -> None:
    """All bases are in the checkpoint, to the bit; also one without columns, where nothing is free any more."""
    learner = taught(2, **options)
    learner.save(tmp_path / "model")
    loaded: Any = Learner.load(tmp_path / "model", backbone=tiny_backbone())
    for one in (learner, loaded):
        one.learn(stream[2])
    for name in ("protected_", "free_", "captured_"):
        mine, theirs = getattr(learner.method, name), getattr(loaded.method, name)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[layer]) for layer, tensor in mine.items())
    for mine, theirs in zip(learner.model.adapters, loaded.model.adapters, strict=True):
        assert torch.equal(mine.folded, theirs.folded)


def test_where_everything_is_protected_only_the_head_learns(taught: Any, stream: Stream) -> None:
    """With a threshold of 1 the first task leaves one direction (it stays strictly below), the second none."""
    learner = taught(2, threshold=1.0)
    assert {tuple(basis.shape) for basis in learner.method.free_.values()} == {(WIDTH, 0)}
    before = [adapter.delta() for adapter in learner.model.adapters]
    learner.learn(stream[2])
    after = [adapter.delta() for adapter in learner.model.adapters]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert learner.model.head.weights[2].abs().sum() > 0


def test_a_rank_above_the_width_is_refused_before_any_image_is_seen(
    taught: Any, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MethodError, match="at most 32"):
        taught(0, rank=WIDTH + 1)
    learner = taught(0)
    learner.method.rank = WIDTH + 1  # as one who uses the method without a Learner could
    monkeypatch.setattr(learner.model, "passes", lambda *_, **__: pytest.fail("images were seen"))
    with pytest.raises(AdapterError, match="at most 32"):
        learner.learn(stream[0])


def test_a_threshold_that_falls_is_refused() -> None:
    with pytest.raises(MethodError, match=r"(?s)method\.last_threshold.*at least the threshold .* 0\.98.*0\.9"):
        methods.build("inf_lora", {"threshold": 0.98, "last_threshold": 0.9})
    methods.build("inf_lora", {"threshold": 0.98, "last_threshold": 0.98})


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(MethodError, match=r"method\.threshold"):
        methods.build("inf_lora", {"threshold": threshold})


def test_a_task_without_images_is_refused_and_nothing_grows(taught: Any, stream: Stream) -> None:
    learner, task = taught(1), stream[1]
    none = replace(task.train, rows=task.train.rows[:0], labels=task.train.labels[:0])
    learner.model.grow(task.class_names)
    with pytest.raises(AdapterError, match=r"(?s)blocks\.0\.attn\.qkv.*no image.*give the task training images"):
        learner.method.before_task(learner.model, replace(task, train=none))
    assert not learner.model.adapters.live


def test_a_layer_that_the_network_does_not_use_is_named(
    taught: Any, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = taught(0)
    monkeypatch.setattr(learner.model.backbone.network.blocks[0].attn, "forward", lambda tokens, **_: tokens)
    with pytest.raises(AdapterError, match=r"(?s)blocks\.0\.attn\.qkv.*adapt only layers that the network uses"):
        _begin(learner, stream[0])
    assert not learner.model.adapters.live


def test_inputs_that_are_not_finite_are_named_with_their_batch(taught: Any, stream: Stream) -> None:
    learner = taught(1)
    with torch.no_grad():
        learner.model.backbone.network.blocks[1].norm1.bias[3] = math.nan
    with pytest.raises(AdapterError, match=r"(?s)blocks\.1\.attn\.qkv, batch 1.*finite.*precision=fp32"):
        _begin(learner, stream[1])
    assert not learner.model.adapters.live
