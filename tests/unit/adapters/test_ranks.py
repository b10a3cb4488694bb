"""Ranks of past updates go one by one, a designed `up` does not learn, and a gate on a rank is a scale that learns."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lorastream.adapters import AdaptedLinear, Adapter
from lorastream.adapters.adapted_linear import Rows
from lorastream.errors import AdapterError


def _adapter(generator: torch.Generator, *ranks: int) -> Adapter:
    """Return an adapter of 6 inputs and 4 outputs with past updates."""
    adapter = Adapter(6, 4, torch.empty(0, dtype=torch.float64))
    for rank in ranks:
        adapter.grow(rank, generator=generator, up_std=1.0)
        adapter.freeze()
    return adapter


def _layer(generator: torch.Generator, past: int, live: int, *, designed: bool) -> AdaptedLinear:
    base = nn.Linear(6, 4, dtype=torch.float64).requires_grad_(requires_grad=False)
    layer = AdaptedLinear(base, {"all": Rows(0, 4)})
    adapter = layer.adapters["all"]
    assert isinstance(adapter, Adapter)
    if past:
        adapter.grow(past, generator=generator, up_std=1.0)
        adapter.freeze()
    up = torch.randn(4, live, generator=generator, dtype=torch.float64) if designed else None
    adapter.grow(live, generator=generator, up_std=0.5, up=up)
    return layer


def test_columns_that_are_kept_stay_as_they_are_and_an_update_may_lose_all(generator: torch.Generator) -> None:
    adapter = _adapter(generator, 2, 1, 3)
    up, down = adapter.up_stack.clone(), adapter.down_stack.clone()
    adapter.scale = torch.arange(6, dtype=torch.float64)
    kept = torch.tensor([True, False, False, True, False, True])
    adapter.keep(kept)
    assert adapter.ranks == [1, 0, 2]
    assert torch.equal(adapter.up_stack, up[:, kept])
    assert torch.equal(adapter.down_stack, down[kept])
    assert adapter.scale.tolist() == [0, 3, 5]


def test_deleting_a_rank_of_zero_changes_nothing(generator: torch.Generator) -> None:
    adapter = _adapter(generator, 2, 3)
    adapter.up_stack[:, 3] = 0
    before = adapter.delta()
    adapter.keep(torch.tensor([True, True, True, False, True]))
    torch.testing.assert_close(adapter.delta(), before, atol=1e-15, rtol=0)
    assert adapter.ranks == [2, 2]


def test_other_factors_of_the_newest_leave_the_past_as_it_is(generator: torch.Generator) -> None:
    adapter = _adapter(generator, 2, 1)
    first = [tensor.clone() for tensor in next(iter(adapter.factors()))]
    up, down = torch.ones(4, 1, dtype=torch.float64), torch.full((1, 6), 2.0, dtype=torch.float64)
    adapter.replace_newest(up, down)
    (old_up, old_down), (new_up, new_down) = adapter.factors()
    assert torch.equal(old_up, first[0])
    assert torch.equal(old_down, first[1])
    assert torch.equal(new_up, up)
    assert torch.equal(new_down, down)
    with pytest.raises(AdapterError, match=r"(?s)adapter, up.*\(4, 1\).*\(4, 2\)"):
        adapter.replace_newest(torch.ones(4, 2), torch.ones(2, 6))


def test_of_a_live_update_nothing_is_deleted(generator: torch.Generator) -> None:
    adapter = _adapter(generator, 2)
    adapter.thaw()
    with pytest.raises(AdapterError, match=r"(?s)adapter\.keep.*still learns"):
        adapter.keep(torch.ones(2, dtype=torch.bool))
    with pytest.raises(AdapterError, match=r"(?s)adapter\.replace_newest.*still learns"):
        adapter.replace_newest(*next(iter(adapter.factors())))


def test_a_designed_up_may_be_as_wide_as_the_outputs_and_does_not_learn(generator: torch.Generator) -> None:
    adapter = Adapter(2, 4, torch.empty(0, dtype=torch.float64))
    up = torch.eye(4, dtype=torch.float64)
    adapter.grow(4, generator=generator, up=up)
    assert adapter.up is not None
    assert adapter.down is not None
    assert torch.equal(adapter.up, up)
    assert not adapter.delta().any()
    assert [p.requires_grad for p in (adapter.up, adapter.down)] == [False, True]
    adapter.freeze()
    with pytest.raises(AdapterError, match=r"(?s)adapter\.grow, rank.*1 to 4"):
        adapter.grow(5, generator=generator, up=torch.zeros(4, 5))
    with pytest.raises(AdapterError, match=r"(?s)adapter, up.*\(4, 3\).*\(4, 2\)"):
        adapter.grow(3, generator=generator, up=torch.zeros(4, 2))


@pytest.mark.parametrize("designed", [False, True])
@pytest.mark.parametrize(("past", "live"), [(0, 1), (1, 1), (3, 3)], ids=["one", "few ranks", "many ranks"])
def test_gradcheck_of_gates_and_of_a_down_alone(
    past: int, live: int, designed: bool, generator: torch.Generator
) -> None:
    layer = _layer(generator, past, live, designed=designed)
    adapter = layer.adapters["all"]
    assert isinstance(adapter, Adapter)
    adapter.open_rank_gate()
    assert adapter.rank_gate is not None
    with torch.no_grad():
        adapter.rank_gate.copy_(torch.linspace(-0.5, 1.5, live))
        if adapter.down is not None:
            adapter.down.add_(0.1)
    names = [name for name, p in layer.named_parameters() if p.requires_grad]
    assert len(names) == (2 if designed else 3)

    def outputs(rows: Tensor, *given: Tensor) -> Tensor:
        fresh = copy.deepcopy(layer)  # finite differences change what they are given behind torch's back
        return functional_call(fresh, dict(zip(names, given, strict=True)), (rows,))

    inputs = torch.randn(2, 3, 6, generator=generator, dtype=torch.float64).requires_grad_()
    given = [dict(layer.named_parameters())[name].detach().clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(outputs, (inputs, *given), eps=1e-6, atol=1e-9, rtol=1e-7)


def test_a_gate_begins_at_one_counts_at_once_and_goes_into_up(generator: torch.Generator) -> None:
    layer = _layer(generator, 2, 2, designed=False)
    adapter = layer.adapters["all"]
    assert isinstance(adapter, Adapter)
    rows = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    before = layer(rows)
    adapter.open_rank_gate()
    assert torch.equal(layer(rows), before)
    assert adapter.rank_gate is not None
    assert adapter.up is not None
    first_up = adapter.up.detach().clone()
    with torch.no_grad():
        adapter.rank_gate.copy_(torch.tensor([0.0, 3.0]))
    gated = layer(rows)
    assert not torch.equal(gated, before)
    adapter.close_rank_gate()
    assert adapter.rank_gate is None
    torch.testing.assert_close(adapter.up.detach(), first_up * torch.tensor([0.0, 3.0]))
    torch.testing.assert_close(layer(rows), gated)
    adapter.freeze()
    assert adapter.scale.tolist() == [1, 1, 1, 1]
