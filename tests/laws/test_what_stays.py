"""Laws on what learning may not touch: the backbone, the past, and old answers when a task begins."""

from __future__ import annotations

import gc
import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lorastream.data.cache import PixelStore
from lorastream.data.task import Batch, Task, TaskImages

SIDE = 16


def test_backbone_weights_never_change(case: Any) -> None:
    learner, stream = case.learner(), case.streams()
    before = {n: t.clone() for n, t in case.backbone().network.state_dict().items()}
    case.teach(learner, stream)
    state = {n.replace(".base.", "."): t for n, t in learner.model.backbone.network.state_dict().items()}
    changed = [name for name, tensor in before.items() if not torch.equal(tensor, state[name])]
    assert bool(changed) is not learner.method.traits.freezes_backbone


def test_old_logits_are_bit_identical_right_after_before_task(case: Any, pictures: Tensor) -> None:
    learner, stream = case.learner(), case.streams()
    case.teach(learner, stream, tasks=2)
    task = case.material(learner, stream, 2)
    known = learner.model.n_classes
    with torch.no_grad():
        ended = learner.model(pictures)
        learner.model.grow(stream[2].class_names)
        grown = learner.model(pictures)[:, :known]
        learner.method.before_task(learner.model, task)
        begun = learner.model(pictures)[:, :known]
    assert torch.equal(ended, grown)
    assert torch.equal(ended, begun) is learner.method.traits.starts_where_it_ended


def test_what_earlier_tasks_learnt_stays_still(case: Any) -> None:
    learner, stream = case.learner(), case.streams()
    case.teach(learner, stream, tasks=2)
    before, rows = _past(learner.model), _rows(learner.model)
    case.teach_next = learner.learn(case.material(learner, stream, 2))
    after, new_rows = _past(learner.model), _rows(learner.model)
    same = [torch.equal(old, new) for old, new in zip(before, after, strict=False)]
    same += [torch.equal(tensor, new_rows[name][: len(tensor)]) for name, tensor in rows.items()]
    if learner.method.traits.keeps_past_parameters_fixed:
        assert all(same)
    else:
        assert not all(same)


def test_what_was_folded_moves_by_no_more_than_the_new_update(case: Any) -> None:
    """Where updates are folded they cannot be looked at one by one: then the sum moves by a rank of at most the new."""
    learner, stream = case.learner(), case.streams()
    case.teach(learner, stream, tasks=2)
    if not learner.model.adapted or not all(len(adapter.folded) for adapter in learner.model.adapters):
        pytest.skip("nothing is folded: the past updates themselves are looked at")
    before = [adapter.delta() for adapter in learner.model.adapters]
    learner.learn(case.material(learner, stream, 2))
    moved = [adapter.delta() - old for adapter, old in zip(learner.model.adapters, before, strict=True)]
    assert any(change.any() for change in moved)
    for change in moved:
        values = torch.linalg.svdvals(change.double())
        assert (values[learner.method.rank :] <= 1e-5 * before[0].norm()).all()


def test_no_images_are_kept_after_a_task(case: Any) -> None:
    learner, stream = case.learner(), case.streams()
    case.teach(learner, stream)
    kept = [thing for thing in _reachable(learner.model, learner.method) if _is_image_like(thing)]
    assert not kept


def test_nothing_is_live_between_tasks(case: Any) -> None:
    learner = case.teach(case.learner(), case.streams(), tasks=1)
    model = learner.model
    assert not (model.adapted and model.adapters.live)
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert model.prompts is None or not any(p.requires_grad for p in model.prompts.parameters())
    assert model.prompts is None or model.prompts.remembered is None


def test_forward_opens_no_file_and_makes_no_parameter(
    case: Any, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, stream = case.learner(), case.streams()
    case.teach(learner, stream, tasks=2)
    learner.model.grow(stream[2].class_names)
    learner.method.before_task(learner.model, case.material(learner, stream, 2))
    before = {name: id(p) for name, p in learner.model.named_parameters()}

    def refused(*arguments: object, **_: object) -> None:
        raise AssertionError(f"a file was opened: {arguments[0]}")

    for owner, name in (("builtins", "open"), ("io", "open"), ("os", "open"), ("torch", "load")):
        monkeypatch.setattr(f"{owner}.{name}", refused)
    learner.model(pictures)
    monkeypatch.undo()
    assert {name: id(p) for name, p in learner.model.named_parameters()} == before


def _past(model: Any) -> list[Tensor]:
    """Return the factors of all updates in order of arrival."""
    if not model.adapted:
        return [p.detach().clone() for p in model.backbone.parameters()] if model.backbone.trained else []
    return [t.clone() for adapter in model.adapters for pair in list(adapter.factors())[:2] for t in pair]


def _rows(model: Any) -> dict[str, Tensor]:
    """Return what a task adds rows to at the end: the head, and prompts where there are any."""
    prompts = {} if model.prompts is None else model.prompts.tensors()
    return {**model.head.tensors(), **{name: tensor for name, tensor in prompts.items() if tensor.ndim}}


def _reachable(*roots: object) -> list[object]:
    seen: dict[int, object] = {}
    waiting: list[object] = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) not in seen and not isinstance(thing, type | types.ModuleType | types.FunctionType):
            seen[id(thing)] = thing
            waiting.extend(gc.get_referents(thing))
    return list(seen.values())


def _is_image_like(thing: object) -> bool:
    if isinstance(thing, Task | TaskImages | Batch | PixelStore):
        return True
    shape = tuple(thing.shape) if isinstance(thing, Tensor | np.ndarray) else ()
    return len(shape) > 2 and (shape[-3:] == (3, SIDE, SIDE) or shape[-3:] == (SIDE, SIDE, 3))
