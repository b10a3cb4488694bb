"""Laws on what a taught model computes: merged, saved, seeded, and whoever else is in the batch."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lorastream.learner import Learner
from lorastream.methods.protocol import learnt_parameters, learnt_state
from lorastream.model import IncrementalClassifier
from lorastream.training.hooks import predict


def _logits(learner: Learner, pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return predict(learner.method, learner.model, pictures)


def test_merged_is_unmerged_and_unmerging_is_exact(case: Any, pictures: Tensor) -> None:
    learner = case.teach(case.learner(), case.streams())
    before = _logits(learner, pictures)
    with learner.model.merged():
        kinds = {type(module).__name__ for module in learner.model.backbone.modules()}
        merged = _logits(learner, pictures)
    assert "AdaptedLinear" not in kinds or not learner.method.traits.merges_exactly
    torch.testing.assert_close(merged, before, atol=1e-5, rtol=0)
    assert torch.equal(_logits(learner, pictures), before)


def test_a_merged_model_is_the_plain_backbone_where_that_is_promised(case: Any, pictures: Tensor) -> None:
    learner = case.teach(case.learner(), case.streams())
    before = _logits(learner, pictures)
    with learner.model.merged(), torch.no_grad():
        plain = learner.model.backbone(pictures)
        alike = plain.shape[1] == learner.model.width
        alike = alike and torch.allclose(learner.model.head(plain), before, atol=1e-5)
    assert alike is learner.method.traits.merges_exactly


def test_a_prediction_takes_as_many_passes_as_promised(case: Any, pictures: Tensor) -> None:
    learner = case.teach(case.learner(), case.streams(), tasks=2)
    seen: list[int] = []
    learner.model.backbone.register_forward_hook(lambda _module, inputs, _found: seen.append(len(inputs[0])))
    _logits(learner, pictures)
    assert seen == [len(pictures)] * learner.method.traits.inference_passes


def test_save_and_load_give_the_same_logits_and_learning_goes_on_alike(
    case: Any, pictures: Tensor, model_folder: Path
) -> None:
    stream = case.streams()
    learner = case.teach(case.learner(), stream, tasks=2)
    learner.save(model_folder)
    loaded = Learner.load(model_folder, backbone=case.backbone())
    assert torch.equal(_logits(loaded, pictures), _logits(learner, pictures))
    assert loaded.class_names == learner.class_names
    for one in (learner, loaded):
        one.learn(case.material(one, stream, 2))
    assert torch.equal(_logits(loaded, pictures), _logits(learner, pictures))


def test_same_seed_same_run_and_another_seed_another(case: Any, pictures: Tensor) -> None:
    taught = [case.teach(case.learner(seed=s), case.streams(tasks=2, seed=s), tasks=2) for s in (3, 3, 4)]
    first, second, other = (_logits(learner, pictures) for learner in taught)
    assert torch.equal(first, second)
    for name, tensor in learnt_state(taught[0].method).items():
        assert torch.equal(tensor, learnt_state(taught[1].method)[name])
    if not taught[0].method.traits.gradient_free:
        assert not torch.equal(first, other)


def test_training_does_not_touch_the_global_generator(case: Any) -> None:
    state = torch.random.get_rng_state()
    case.teach(case.learner(), case.streams(tasks=1))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_prediction_does_not_depend_on_who_else_is_in_the_batch(case: Any, pictures: Tensor) -> None:
    learner = case.teach(case.learner(), case.streams())
    together = _logits(learner, pictures)
    alone = torch.cat([_logits(learner, pictures[i : i + 1]) for i in range(len(pictures))])
    shuffled = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    torch.testing.assert_close(_logits(learner, pictures[shuffled]), together[shuffled], atol=1e-5, rtol=0)


def test_twenty_five_tasks_of_one_class_run(case: Any) -> None:
    learner = case.learner(epochs=1)
    stream = case.streams(tasks=25, classes_per_task=1, images=2)
    case.teach(learner, stream)
    evaluation = learner.evaluate(stream)
    assert evaluation.confusion.shape == (25, 25)
    assert len(evaluation.accuracy) == 25
    assert evaluation.task_restricted_accuracy == (1.0,) * 25


def test_saved_for_backward_does_not_grow_with_tasks(case: Any) -> None:
    learner, stream = case.learner(epochs=0), case.streams(tasks=9)
    if learner.method.traits.gradient_free:
        pytest.skip("gradient_free: nothing is saved for a backward pass")
    sizes: list[int] = []
    for index in range(9):
        task = case.material(learner, stream, index)
        learner.model.grow(stream[index].class_names)
        learner.method.before_task(learner.model, task)
        batch = next(iter(task.train.batches(4, epoch=0)))
        with _saved_bytes(learner.model) as saved:
            learner.model.features(batch.images).sum()
        sizes.append(sum(saved.values()))
        learner.method.after_task(learner.model, task)
    assert len(set(sizes[1:])) == 1, sizes


def test_gradients_are_the_slopes_of_the_loss(case: Any) -> None:
    """Against finite differences in float64, along one random direction of everything that learns together."""
    learner, stream = case.learner(epochs=1), case.streams(tasks=2)
    case.teach(learner, stream, tasks=1)
    model, task = learner.model.double(), case.material(learner, stream, 1)
    model.grow(stream[1].class_names)
    model.head.double()  # the new rows
    learner.method.before_task(model, task)
    learning: list[Tensor] = [*model.learning(), *learnt_parameters(learner.method)]
    if not learning:
        pytest.skip("nothing learns: there is no loss")
    generator = torch.Generator().manual_seed(2)
    batch = next(iter(task.train.batches(6, epoch=0)))
    batch = replace(batch, images=batch.images.double())
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in learning]

    def loss(step: float) -> Tensor:
        with torch.no_grad():
            for parameter, direction in zip(learning, directions, strict=True):
                parameter.add_(direction, alpha=step)
        return learner.method.loss(model, batch, task)

    gradients = torch.autograd.grad(loss(0.05), learning, allow_unused=True)
    slope = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True) if g is not None)
    above, below = loss(1e-6).item(), loss(-2e-6).item()
    assert slope == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-7)
    assert abs(slope) > 1e-6


def test_a_forward_pass_makes_no_parameter(case: Any, pictures: Tensor) -> None:
    learner, stream = case.learner(epochs=0), case.streams(tasks=2)
    case.teach(learner, stream, tasks=1)
    learner.model.grow(stream[1].class_names)
    learner.method.before_task(learner.model, case.material(learner, stream, 1))
    before = {name: id(p) for name, p in learner.model.named_parameters()}
    learner.model(pictures)
    assert {name: id(p) for name, p in learner.model.named_parameters()} == before


@contextmanager
def _saved_bytes(model: IncrementalClassifier) -> Generator[dict[int, int]]:
    """Count the bytes of storage that the forward pass saves, beside what the model holds anyway."""
    scalings = [adapter.scaling for adapter in model.adapters if adapter.scaling] if model.adapted else []
    kept = [value for scaling in scalings for value in vars(scaling).values()]
    constants = [t for value in kept for t in (value if isinstance(value, list) else [value]) if isinstance(t, Tensor)]
    held = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers(), *constants]}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield saved
