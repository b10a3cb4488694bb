"""Regression on random features, by either solver, of a network that is frozen or has learnt the first task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F


def _two_tasks(trial: Any, **options: Any) -> Any:
    taught = trial("ran_pac", random_features=20, **options)
    for index in range(2):
        task = taught.begin(index)
        taught.method.after_task(taught.model, task)
    return taught


def _rows_and_targets(taught: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the random features of all images of two tasks, and their classes as rows of zeros and a one."""
    batches = [taught.batch(taught.stream[index]) for index in range(2)]
    features = torch.cat([taught.model.features(batch.images) for batch in batches])
    rows = F.relu(features @ taught.model.head.projection.double())
    return rows, F.one_hot(torch.cat([batch.labels for batch in batches])).double()


def test_ridge_is_the_solution_for_all_images_at_once(trial: Any) -> None:
    taught = _two_tasks(trial)
    rows, targets = _rows_and_targets(taught)
    found = taught.method.figures(taught.model)
    system = rows.mT @ rows + found["ridge_penalty"] * torch.eye(20, dtype=torch.float64)
    expected = torch.linalg.solve(system, rows.mT @ targets)
    torch.testing.assert_close(rows @ taught.model.head.weight.double().mT, rows @ expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("truncation", "max_rank", "rank"), [(0.0, 100, 16), (0.25, 100, 12), (0.0, 5, 5)])
def test_truncated_svd_keeps_the_rank_that_it_is_told(trial: Any, truncation: float, max_rank: int, rank: int) -> None:
    taught = _two_tasks(trial, solver="truncated_svd", truncation=truncation, max_rank=max_rank)
    assert taught.method.figures(taught.model) == {"singular_values": rank}
    assert taught.method.traits.head == "truncated"
    if rank == 16:  # of sixteen images none is left out: each is told exactly
        rows, targets = _rows_and_targets(taught)
        torch.testing.assert_close(rows @ taught.model.head.weight.double().mT, targets, atol=1e-2, rtol=0)


@pytest.mark.parametrize("solver", ["ridge", "truncated_svd"])
def test_the_first_task_alone_may_be_learnt(trial: Any, solver: str) -> None:
    taught = trial("ran_pac", random_features=20, first_task_lora=True, rank=2, solver=solver).teach(1)
    ended = [adapter.delta() for adapter in taught.model.adapters]
    assert all(delta.any() for delta in ended)
    assert taught.model.head.warm is None
    taught.method.after_task(taught.model, taught.begin(1))
    assert taught.learning() == []
    assert all(torch.equal(adapter.delta(), old) for adapter, old in zip(taught.model.adapters, ended, strict=True))
