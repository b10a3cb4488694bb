"""Joint training sees everything so far, and begins anew or goes on as it is told."""

from __future__ import annotations

from typing import Any

import torch


def test_a_restart_forgets_the_update_and_the_head(trial: Any) -> None:
    taught = trial("joint", rank=2).teach(1)
    before = taught.model.head.tensors()["weight"]
    taught.begin(1)
    assert taught.model.adapters.ranks == [2]
    assert not any(adapter.delta().any() for adapter in taught.model.adapters)
    assert not (taught.model.head.tensors()["weight"][:2] == before).any()


def test_a_restart_does_not_depend_on_what_was_learnt_before(trial: Any) -> None:
    begun = []
    for steps in (1, 3):
        taught = trial("joint", rank=2)
        taught.steps = steps
        taught.teach(1).begin(1)
        begun.append([*taught.model.head.tensors().values(), *(a.down for a in taught.model.adapters)])
    assert all(torch.equal(one, other) for one, other in zip(*begun, strict=True))


def test_without_a_restart_it_goes_on(trial: Any) -> None:
    taught = trial("joint", rank=2, restart=False).teach(1)
    head, deltas = taught.model.head.tensors(), [adapter.delta() for adapter in taught.model.adapters]
    taught.begin(1)
    assert taught.model.adapters.ranks == [2]
    assert all(torch.equal(t, taught.model.head.tensors()[name][:2]) for name, t in head.items())
    assert all(torch.equal(d, a.delta()) for d, a in zip(deltas, taught.model.adapters, strict=True))


def test_all_classes_and_all_their_images_take_part(trial: Any) -> None:
    taught = trial("joint", rank=2).teach(1)
    task = taught.begin(1)
    assert sorted(set(taught.batch(task).labels.tolist())) == [0, 1, 2, 3]
    gradients = torch.autograd.grad(taught.loss(task), list(taught.model.head.parameters()))
    assert len(gradients) == 4
    assert all(gradient.any() for gradient in gradients)
    assert not taught.method.traits.exemplar_free
