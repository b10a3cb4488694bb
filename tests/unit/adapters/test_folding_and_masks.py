"""Updates that are folded, designed, dropped or masked compute what their formulas state, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorastream.adapters import AdaptedLinear, Adapter
from lorastream.adapters.adapted_linear import Rows
from lorastream.errors import AdapterError

IN, OUT = 6, 5
Change = Callable[[Adapter], Any]


def _layer(generator: torch.Generator, past: int = 2) -> tuple[AdaptedLinear, Adapter]:
    base = nn.Linear(IN, OUT, dtype=torch.float64).requires_grad_(requires_grad=False)
    layer = AdaptedLinear(base, {"all": Rows(0, OUT)})
    adapter = layer.adapters["all"]
    assert isinstance(adapter, Adapter)
    for rank in range(1, past + 1):
        adapter.grow(rank, generator=generator, up_std=1.0)
        adapter.freeze()
    return layer, adapter


@pytest.fixture
def inputs(generator: torch.Generator) -> Tensor:
    return torch.randn(7, IN, generator=generator, dtype=torch.float64)


def test_folding_keeps_the_output_and_forgets_the_factors(generator: torch.Generator, inputs: Tensor) -> None:
    layer, adapter = _layer(generator)
    before, delta = layer(inputs), adapter.delta()
    adapter.fold()
    torch.testing.assert_close(layer(inputs), before, atol=1e-12, rtol=0)
    assert torch.equal(adapter.folded, delta)
    assert (adapter.ranks, adapter.total_rank, adapter.empty) == ([], 0, False)


def test_what_follows_a_fold_is_added_to_it_and_folded_again(generator: torch.Generator) -> None:
    _, adapter = _layer(generator)
    adapter.fold()
    first = adapter.delta()
    adapter.grow(2, generator=generator, up_std=1.0)
    assert adapter.up is not None
    assert adapter.down is not None
    expected = first + adapter.up.detach() @ adapter.down.detach()
    torch.testing.assert_close(adapter.delta(), expected)
    adapter.freeze()
    adapter.fold()
    torch.testing.assert_close(adapter.folded, expected)


def test_a_new_update_after_a_fold_changes_no_bit(generator: torch.Generator, inputs: Tensor) -> None:
    layer, adapter = _layer(generator)
    adapter.fold()
    before = layer(inputs)
    adapter.grow(3, generator=generator)
    assert torch.equal(layer(inputs), before)


def test_clearing_drops_what_was_folded_too(generator: torch.Generator) -> None:
    _, adapter = _layer(generator)
    adapter.fold()
    adapter.clear()
    assert adapter.empty
    assert not adapter.delta().any()


@pytest.mark.parametrize("verb", [Adapter.fold, Adapter.drop_newest])
@pytest.mark.parametrize("live", [True, False])
def test_what_learns_or_is_not_there_is_not_folded_or_dropped(
    generator: torch.Generator, verb: Change, live: bool
) -> None:
    _, adapter = _layer(generator, past=0)
    if live:
        adapter.grow(1, generator=generator)
    with pytest.raises(AdapterError, match="still learns" if live else "no update"):
        verb(adapter)


def test_what_was_folded_is_not_dropped(generator: torch.Generator) -> None:
    _, adapter = _layer(generator)
    adapter.fold()
    with pytest.raises(AdapterError, match="no update"):
        adapter.drop_newest()


def test_a_designed_down_is_taken_as_it_is_and_only_up_learns(generator: torch.Generator, inputs: Tensor) -> None:
    layer, adapter = _layer(generator)
    down = torch.randn(2, IN, generator=generator, dtype=torch.float64)
    adapter.grow(2, generator=generator, down=down)
    assert adapter.down is not None
    assert torch.equal(adapter.down, down)
    assert [p is adapter.up for p in adapter.parameters() if p.requires_grad] == [True]
    layer(inputs).square().sum().backward()
    assert adapter.down.grad is None
    assert adapter.up is not None
    assert adapter.up.grad is not None
    gradient = 2 * layer(inputs).detach()
    torch.testing.assert_close(adapter.up.grad, gradient.mT @ inputs @ down.mT)


def test_a_designed_down_of_another_shape_is_refused(generator: torch.Generator) -> None:
    _, adapter = _layer(generator, past=0)
    with pytest.raises(AdapterError, match=r"shape \(2, 6\)"):
        adapter.grow(2, generator=generator, down=torch.ones(3, IN))
    assert adapter.empty


def test_dropping_the_newest_leaves_the_others_as_they_were(generator: torch.Generator) -> None:
    _, adapter = _layer(generator, past=1)
    before = adapter.delta()
    adapter.grow(3, generator=generator, up_std=1.0)
    adapter.freeze()
    adapter.drop_newest()
    assert torch.equal(adapter.delta(), before)
    assert adapter.ranks == [1]


def test_a_dropped_update_may_keep_its_place(generator: torch.Generator) -> None:
    _, adapter = _layer(generator, past=2)
    adapter.drop_newest(keep_place=True)
    adapter.grow(3, generator=generator)
    assert adapter.ranks == [1, 0, 3]
    assert adapter.update_of_column().tolist() == [0, 2, 2, 2]
    assert [up.shape[1] for up, _ in adapter.factors()] == [1, 0, 3]


def _masked_reference(adapter: Adapter, base: nn.Linear, inputs: Tensor) -> Tensor:
    assert adapter.masks is not None
    assert adapter.up is not None
    assert adapter.down is not None
    past = sum(up @ down for up, down in list(adapter.factors())[:-1])
    live = torch.diag(adapter.masks[1]) @ adapter.up @ adapter.down @ torch.diag(adapter.masks[0])
    return F.linear(inputs, base.weight + past + live, base.bias)


@pytest.mark.parametrize("past", [0, 2])
def test_dropout_masks_inputs_and_outputs_of_the_live_update_forwards_and_backwards(
    generator: torch.Generator, inputs: Tensor, past: int
) -> None:
    layer, adapter = _layer(generator, past)
    adapter.grow(2, generator=generator, up_std=1.0)
    adapter.mask(0.5, generator=torch.Generator().manual_seed(2))
    assert adapter.masks is not None
    assert {value for mask in adapter.masks for value in mask.tolist()} == {0.0, 2.0}
    learning = [p for p in adapter.parameters() if p.requires_grad]
    upstream = torch.randn(7, OUT, generator=generator, dtype=torch.float64)
    expected = _masked_reference(adapter, layer.base, inputs)
    torch.testing.assert_close(layer(inputs), expected)
    wanted = torch.autograd.grad((expected * upstream).sum(), learning)
    found = torch.autograd.grad((layer(inputs) * upstream).sum(), learning)
    torch.testing.assert_close(found, wanted)


def test_new_masks_are_used_at_once_and_none_remain_after_freezing(generator: torch.Generator, inputs: Tensor) -> None:
    layer, adapter = _layer(generator, past=0)
    adapter.grow(2, generator=generator, up_std=1.0)
    whole = layer(inputs)
    seen = []
    for seed in range(2):
        adapter.mask(0.5, generator=torch.Generator().manual_seed(seed))
        seen.append(layer(inputs))
    assert not torch.equal(seen[0], seen[1])
    adapter.mask(0.0, generator=generator)
    assert torch.equal(layer(inputs), whole)
    adapter.mask(0.5, generator=generator)
    adapter.freeze()
    assert adapter.masks is None
    assert torch.equal(layer(inputs), whole)


def test_the_mean_over_masks_is_the_update_itself(generator: torch.Generator) -> None:
    _, adapter = _layer(generator, past=0)
    adapter.grow(2, generator=generator, up_std=1.0)
    whole, total, n = adapter.delta(), torch.zeros(OUT, IN, dtype=torch.float64), 4000
    for _ in range(n):
        adapter.mask(0.3, generator=generator)
        total += adapter.delta()
    torch.testing.assert_close(total / n, whole, atol=0.15, rtol=0)
