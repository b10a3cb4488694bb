"""Ranks in order of energy are the singular values of what they give the outputs; numbers worked by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lorastream.linalg.energy import (
    further_directions,
    kept_by_energy,
    order_by_energy,
    share_before,
    strongest_directions,
)

seeds = st.integers(0, 2**31)
widths = st.integers(1, 9)


def _exact(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


UP, DOWN = _exact([0, 3], [0, 4], [1, 0]), torch.eye(2, dtype=torch.float64)


def test_white_inputs_by_hand() -> None:
    """The columns [0.6 0.8 0]' and [0 0 1]' have norms 5 and 1, so they come in this order with energies 25 and 1."""
    found = order_by_energy(UP, DOWN)
    torch.testing.assert_close(found.energies, _exact([25, 1])[0])
    torch.testing.assert_close(found.up, _exact([0.6, 0], [0.8, 0], [0, 1]))
    torch.testing.assert_close(found.down, _exact([0, 5], [1, 0]))
    torch.testing.assert_close(found.up @ found.down, UP @ DOWN)


def test_what_the_inputs_use_decides_the_order_by_hand() -> None:
    """A first input that is a hundred times as strong turns the order round: 100 · 1 against 25 · 1."""
    found = order_by_energy(UP, DOWN, _exact([100, 0], [0, 1]))
    torch.testing.assert_close(found.energies, _exact([100, 25])[0])
    torch.testing.assert_close(found.up, _exact([0, 0.6], [0, 0.8], [1, 0]))
    torch.testing.assert_close(found.up @ found.down, UP @ DOWN)


@given(seeds, widths, widths, st.integers(1, 9), st.booleans())
def test_the_product_stays_and_its_ranks_are_principal_directions(
    seed: int, m: int, n: int, r: int, deficient: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    r = min(r, m)
    up, down = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((m, r), (r, n)))
    if deficient:
        up[:, -1] = 0
    inputs = torch.randn(20, n, generator=generator, dtype=torch.float64)
    found = order_by_energy(up, down, inputs.mT @ inputs / 20)
    torch.testing.assert_close(found.up @ found.down, up @ down)
    torch.testing.assert_close(found.up.mT @ found.up, torch.eye(r, dtype=torch.float64))
    outputs = inputs @ (up @ down).mT
    values = torch.linalg.svdvals(outputs).square() / 20
    expected = torch.zeros(r, dtype=torch.float64)
    expected[: min(r, len(values))] = values[: min(r, len(values))]
    torch.testing.assert_close(found.energies, expected, atol=1e-10, rtol=1e-8)
    each = (outputs @ found.up).square().mean(dim=0)
    torch.testing.assert_close(each, found.energies, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize(("share", "kept"), [(0.39, 1), (0.4, 1), (0.41, 2), (0.7, 2), (0.71, 3), (0.9, 3), (1.0, 4)])
def test_as_few_ranks_as_hold_the_share_by_hand(share: float, kept: int) -> None:
    """Of energies 4, 3, 2 and 1 the first hold 0.4, 0.7, 0.9 and all."""
    before = share_before(_exact([4, 3, 2, 1])[0])
    torch.testing.assert_close(before, _exact([0, 0.4, 0.7, 0.9])[0])
    assert kept_by_energy(before, share, at_most=4).tolist() == [True] * kept + [False] * (4 - kept)


def test_ranks_without_energy_are_never_kept() -> None:
    assert share_before(_exact([2, 0])[0]).tolist() == [0, 1]
    assert share_before(_exact([0, 0])[0]).tolist() == [1, 1]
    assert not kept_by_energy(_exact([1, 1])[0], 1.0, at_most=2).any()


def test_where_too_many_would_be_kept_the_share_falls_for_all_updates_by_hand() -> None:
    """At 0.65 all but the third are below; four may stay, so the 0.6 goes; at two the first ranks alone are left."""
    before = _exact([0, 0.5, 0.9, 0, 0.2, 0.6])[0]
    kept = {at_most: kept_by_energy(before, 0.65, at_most=at_most).int().tolist() for at_most in (6, 4, 2, 1)}
    assert kept == {6: [1, 1, 0, 1, 1, 1], 4: [1, 1, 0, 1, 1, 0], 2: [1, 0, 0, 1, 0, 0], 1: [0, 0, 0, 1, 0, 0]}


@given(seeds, st.lists(st.integers(1, 6), min_size=1, max_size=4), st.floats(0.5, 1), st.integers(1, 24))
def test_it_keeps_what_the_released_code_keeps_or_more(seed: int, ranks: list[int], share: float, limit: int) -> None:
    """The code lowers its threshold in small steps; ours is the largest that fits, so it never releases more."""
    generator = torch.Generator().manual_seed(seed)
    energies = [torch.rand(r, generator=generator, dtype=torch.float64).sort(descending=True).values for r in ranks]
    kept = kept_by_energy(torch.cat([share_before(e) for e in energies]), share, at_most=limit)
    counts = [int(own.sum()) for own in kept.split(ranks)]
    assert all(not own[1:].logical_and(~own[:-1]).any() for own in kept.split(ranks)), "the strongest ranks are kept"
    assert sum(counts) <= limit
    if limit >= len(ranks):
        threshold, theirs = share, _theirs(energies, share)
        while sum(theirs) > limit:
            threshold -= 1e-3
            theirs = _theirs(energies, threshold)
        assert all(own >= other for own, other in zip(counts, theirs, strict=True))
        assert threshold != share or counts == theirs


def _theirs(energies: list[Tensor], threshold: float) -> list[int]:
    """Count as the released code does: one more than those up to which the threshold is not exceeded."""
    counts = [int((e.cumsum(dim=0) <= threshold * e.sum()).sum()) + 1 for e in energies]
    return [min(count, len(e)) for count, e in zip(counts, energies, strict=True)]


@given(seeds, st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_further_directions_are_orthonormal_to_the_known(seed: int, width: int, known: int, count: int) -> None:
    known, generator = min(known, width), torch.Generator().manual_seed(seed)
    count = min(count, width - known)
    before = torch.randn(width, known, generator=generator, dtype=torch.float64)
    found = further_directions(before, count, generator=generator)
    assert found.shape == (width, count)
    torch.testing.assert_close(found.mT @ found, torch.eye(count, dtype=torch.float64))
    torch.testing.assert_close(before.mT @ found, torch.zeros(known, count, dtype=torch.float64), atol=1e-9, rtol=0)


def test_the_strongest_directions_are_the_fewest_that_hold_the_share() -> None:
    """Along e_1, e_2, e_3 there is 1, 6 and 3: of all the energy e_2 holds 0.6, and with e_3 0.9."""
    moment = torch.diag(_exact([1, 6, 3])[0])
    for share, kept in {0.5: [1], 0.6: [1], 0.61: [1, 2], 0.9: [1, 2], 1.0: [0, 1, 2]}.items():
        found = strongest_directions(moment, share)
        torch.testing.assert_close(found @ found.mT, torch.diag(torch.tensor([i in kept for i in range(3)]).double()))
    assert strongest_directions(torch.zeros(3, 3), 0.5).shape == (3, 1), "one, also where there is no energy"
