"""Every option of SD-LoRA computes the weight that its formula states, worked out apart in float64.

W = W0 + sum_{k < t} (α_k / n_k) U_k D_k + α_t U_t D_t       (`normalise_current`: α_t / n_t)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

NORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product": lambda up, down: up.square().sum().sqrt() * down.square().sum().sqrt(),
    "exact": lambda up, down: (up @ down).square().sum().sqrt(),
    "none": lambda *_: torch.ones((), dtype=torch.float64),
}
OPTIONS = [
    dict(zip(("norm", "normalise_current", "carry_magnitudes", "magnitude_scope"), values, strict=True))
    for values in itertools.product(NORMS, (False, True), (False, True), ("shared", "per_projection"))
]


def _learnt(trial: Any, **options: Any) -> Any:
    """Return a trial in which two tasks were learnt, all magnitudes moved by hand so that none is like another."""
    taught = trial("sd_lora", rank=2, **options)
    for index in range(2):
        task = taught.begin(index)
        _move(taught)
        taught.end(task)
    return taught


def _move(taught: Any) -> None:
    values = taught.method.magnitudes_
    with torch.no_grad():
        values.add_(torch.linspace(0.1, 0.5, values.numel(), dtype=values.dtype).view_as(values))


def _magnitude(taught: Any, projection: int) -> Tensor:
    """Return `[tasks]`, the magnitudes of a projection."""
    values = taught.method.magnitudes_
    return values if values.dim() == 1 else values[projection]


def _expected(taught: Any, adapter: Any, magnitudes: Tensor) -> Tensor:
    """Compute the sum of all updates by the formula."""
    norm, normalise_current = NORMS[taught.method.norm], taught.method.normalise_current
    factors = [(up.double(), down.double()) for up, down in adapter.factors()]
    divisors = [norm(up, down) for up, down in factors]
    if not normalise_current:
        divisors[-1] = torch.ones((), dtype=torch.float64)
    return sum((a / n) * up @ down for a, n, (up, down) in zip(magnitudes, divisors, factors, strict=True))  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("options", [o for o in OPTIONS if not o["carry_magnitudes"]], ids=str)
def test_the_weight_is_that_of_the_formula_while_a_task_is_learnt_and_after(
    trial: Any, options: dict[str, Any]
) -> None:
    taught = _learnt(trial, **options)
    task = taught.begin(2)
    for ended in (False, True):
        if ended:
            _move(taught)
            taught.end(task)
        for projection, adapter in enumerate(taught.model.adapters):
            magnitudes = _magnitude(taught, projection).detach()
            expected = _expected(taught, adapter, magnitudes)
            torch.testing.assert_close(adapter.delta(), expected, atol=1e-12, rtol=1e-9)
            assert adapter.delta().any()


@pytest.mark.parametrize("options", [o for o in OPTIONS if o["carry_magnitudes"]], ids=str)
def test_carried_the_weight_goes_on_where_it_ended_and_moves_by_its_directions(
    trial: Any, options: dict[str, Any]
) -> None:
    """A change of α_k by δ changes the weight by (δ / n_k) U_k D_k, whatever α_k began as."""
    taught = _learnt(trial, **options)
    ended = [adapter.delta() for adapter in taught.model.adapters]
    taught.begin(2)
    newest = [_newest(taught, adapter) for adapter in taught.model.adapters]
    for before, adapter, new in zip(ended, taught.model.adapters, newest, strict=True):
        torch.testing.assert_close(adapter.delta() - new, before, atol=1e-12, rtol=1e-9)
    _move(taught)
    norm = NORMS[taught.method.norm]
    for row, (before, adapter, new) in enumerate(zip(ended, taught.model.adapters, newest, strict=True)):
        moves = torch.linspace(0.1, 0.5, taught.method.magnitudes_.numel(), dtype=torch.float64)
        own = moves.view_as(taught.method.magnitudes_)
        steps = own if own.dim() == 1 else own[row]
        past = list(adapter.factors())[:-1]
        moved = sum((s / norm(up, down)) * up @ down for s, (up, down) in zip(steps, past, strict=False))
        start = taught.method.magnitude_init
        torch.testing.assert_close(
            adapter.delta() - before, moved + new * (start + steps[-1]) / start, atol=1e-12, rtol=1e-9
        )


def test_a_task_of_one_class_goes_on_where_the_last_one_ended(trial: Any) -> None:
    """Among its own classes alone its loss is 0, so nothing would bring magnitudes back that began anew."""
    taught = _learnt(trial)
    ended = [adapter.delta() for adapter in taught.model.adapters]
    whole = taught.stream[2]
    task = replace(whole, class_names=whole.class_names[:1])
    taught.model.grow(task.class_names)
    taught.method.before_task(taught.model, task)
    taught.model.double()
    for before, adapter in zip(ended, taught.model.adapters, strict=True):
        torch.testing.assert_close(adapter.delta(), before, atol=1e-12, rtol=1e-9)
    batch = taught.batch(whole)
    own = replace(batch, labels=torch.full_like(batch.labels, task.first_class))
    assert taught.method.loss(taught.model, own, task).item() == 0.0
    taught.method.after_task(taught.model, task)
    for before, adapter in zip(ended, taught.model.adapters, strict=True):
        torch.testing.assert_close(adapter.delta(), before, atol=1e-12, rtol=1e-9)


def _newest(taught: Any, adapter: Any) -> Tensor:
    """Return what the newest update adds when it begins."""
    up, down = list(adapter.factors())[-1]
    divisor = NORMS[taught.method.norm](up, down) if taught.method.normalise_current else 1.0
    return taught.method.magnitude_init * up @ down / divisor


@pytest.mark.parametrize("norm", NORMS)
def test_carried_magnitudes_are_the_scale_times_the_norm(trial: Any, norm: str) -> None:
    """The norm of the newest update, which is not divided by, is folded into its magnitude."""
    taught = _learnt(trial, norm=norm, carry_magnitudes=True, magnitude_scope="per_projection")
    ended = [(adapter.scale.clone(), list(adapter.factors())) for adapter in taught.model.adapters]
    taught.begin(2)
    for row, (scale, factors) in enumerate(ended):
        per_task = scale[::2]  # of rank 2: the same in both columns
        expected = [s * NORMS[norm](up, down) for s, (up, down) in zip(per_task, factors, strict=True)]
        begun = taught.method.magnitudes_[row].detach()
        torch.testing.assert_close(begun, torch.stack([*expected, torch.tensor(0.8, dtype=torch.float64)]))


@pytest.mark.parametrize(("init", "expected"), [(0.8, 0.8), (1.0, 1.0)])
@pytest.mark.parametrize(("scope", "shape"), [("shared", (3,)), ("per_projection", (4, 3))])
def test_magnitudes_begin_anew_at_every_task(
    trial: Any, init: float, expected: float, scope: str, shape: tuple[int, ...]
) -> None:
    taught = _learnt(trial, magnitude_init=init, magnitude_scope=scope)
    taught.begin(2)
    assert taught.method.magnitudes_.shape == shape
    assert torch.equal(taught.method.magnitudes_, torch.full(shape, expected, dtype=torch.float64))
    assert taught.method.magnitudes_.requires_grad


@pytest.mark.parametrize(("normalise_current", "zero"), [(False, True), (True, False)])
def test_a_new_update_is_zero_unless_it_must_have_a_direction(trial: Any, normalise_current: bool, zero: bool) -> None:
    taught = trial("sd_lora", rank=2, normalise_current=normalise_current, norm="exact", up_std=0.02)
    taught.begin(0)
    for adapter in taught.model.adapters:
        assert torch.equal(adapter.up, torch.zeros_like(adapter.up)) is zero
        if not zero:
            assert adapter.up.std().item() == pytest.approx(0.02, rel=0.5)
            assert torch.linalg.norm(adapter.delta()).item() == pytest.approx(0.8, rel=1e-6)


def test_a_zero_update_divides_by_nothing(trial: Any) -> None:
    """An update that did not move has no direction: it stays zero instead of becoming 0/0."""
    taught = trial("sd_lora", rank=2)
    taught.steps = 0
    taught.teach(2)
    taught.begin(2)
    assert all(not adapter.delta().any() for adapter in taught.model.adapters)
    assert all(adapter.column_scale().isfinite().all() for adapter in taught.model.adapters)


def test_what_learns_is_the_live_update_the_magnitudes_and_the_newest_rows(trial: Any) -> None:
    taught = _learnt(trial)
    taught.begin(2)
    live = [p for adapter in taught.model.adapters for p in (adapter.down, adapter.up)]
    rows = [taught.model.head.weights[2], taught.model.head.biases[2]]
    assert {id(p) for p in taught.learning()} == {id(p) for p in [*live, *rows, taught.method.magnitudes_]}


def test_past_factors_stay_still(trial: Any) -> None:
    taught = _learnt(trial)
    before = [t.clone() for adapter in taught.model.adapters for pair in adapter.factors() for t in pair]
    taught.end(taught.begin(2))
    after = [t for adapter in taught.model.adapters for pair in list(adapter.factors())[:2] for t in pair]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_figures_for_the_record(trial: Any) -> None:
    taught = _learnt(trial)
    figures = taught.method.figures(taught.model)
    assert figures["ranks"] == [2, 2]
    assert figures["magnitudes"] == taught.method.magnitudes_.tolist()
    assert len(figures["magnitudes"]) == 2
    assert not taught.method.magnitudes_.requires_grad


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_promises_to_go_on_where_it_ended_only_where_it_does(trial: Any, options: dict[str, Any]) -> None:
    promised = trial("sd_lora", **options).method.traits.starts_where_it_ended
    assert promised is (options["carry_magnitudes"] and not options["normalise_current"])


def test_each_task_has_its_rank_and_the_last_one_goes_on(trial: Any) -> None:
    taught = trial("sd_lora", rank=(3, 1))
    taught.teach(3)
    assert taught.model.adapters.ranks == [3, 1, 1]
    assert [taught.method.rank_of(task) for task in (0, 1, 2, 99)] == [3, 1, 1, 1]


def test_without_absorption_nothing_is_said_of_it(trial: Any) -> None:
    taught = _learnt(trial)
    assert set(taught.method.figures(taught.model)) == {"magnitudes", "ranks"}
    assert taught.method.absorbed_ is None
