"""The share to merge, against the quadratic losses that it is the least of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lorastream.linalg.merging import Merge, best_share, slope_after_merge


def _merge(update: list[float], new: list[float], past: list[float], slope: list[float]) -> Merge:
    made = (torch.tensor(own, dtype=torch.float64) for own in (update, new, past, slope))
    return Merge(**dict(zip(("update", "new", "past", "slope"), made, strict=True)))


def test_a_hand_worked_share() -> None:
    """Two weights at 0, where the past is at its best. The new task wants (1, 2), the past holds the second only.

    F_1 = (0, 3), F_2 = (1, 1), Δ = (1, 2): a = (1 + 4) / (1 + 4 + 12) = 5/17.
    """
    assert best_share([_merge([1, 2], [1, 1], [0, 3], [0, 0])]) == pytest.approx(5 / 17)


def test_the_first_task_is_merged_whole() -> None:
    assert best_share([_merge([1, -2], [0.5, 4], [0, 0], [0, 0])]) == 1.0


def test_two_weights_share_one_number() -> None:
    """Δ' F_2 Δ = 1 + 1, Δ' F_1 Δ = 0 + 2: half of the update."""
    merges = [_merge([1], [1], [0], [0]), _merge([1], [1], [2], [0])]
    assert best_share(merges) == pytest.approx(0.5)


@pytest.mark.parametrize(("slope", "expected"), [([9.0], 0.0), ([-9.0], 1.0)])
def test_it_is_cut_to_what_lies_between(slope: list[float], expected: float) -> None:
    assert best_share([_merge([1], [1], [1], slope)]) == expected


def test_without_curvature_everything_is_merged() -> None:
    assert best_share([_merge([1], [0], [0], [0])]) == 1.0


def test_the_slope_follows_by_hand() -> None:
    """From the first test: at 5/17 of (1, 2) the slopes of the past and of the new task cancel along (1, 2)."""
    merge = _merge([1, 2], [1, 1], [0, 3], [0, 0])
    slope = slope_after_merge(merge, 5 / 17)
    torch.testing.assert_close(slope, torch.tensor([-12 / 17, 30 / 17 - 24 / 17], dtype=torch.float64))
    assert float(slope @ merge.update) == pytest.approx(0.0, abs=1e-12)


def test_five_tasks_are_merged_as_if_all_their_best_weights_had_been_kept() -> None:
    generator = torch.Generator().manual_seed(2)
    width = 7
    merged, past, slope = (torch.zeros(width, dtype=torch.float64) for _ in range(3))
    kept: list[tuple[Tensor, Tensor]] = []
    shares: list[float] = []
    for _ in range(5):
        update = torch.randn(width, dtype=torch.float64, generator=generator)
        fisher = torch.rand(width, dtype=torch.float64, generator=generator)
        kept.append((merged + update, fisher))
        one = Merge(update=update, new=fisher, past=past, slope=slope)
        # The paper's form, from every task's own best weights.
        above = sum(((merged - best) * own) @ update for best, own in kept)
        below = sum((update * own) @ update for _, own in kept)
        expected = min(1.0, max(0.0, float(-above / below)))
        share = best_share([one])
        assert share == pytest.approx(expected, abs=1e-12)
        merged, past, slope = merged + share * update, past + fisher, slope_after_merge(one, share)
        torch.testing.assert_close(slope, torch.stack([(merged - best) * own for best, own in kept]).sum(dim=0))
        shares.append(share)
    assert any(0 < share < 1 for share in shares[1:])
