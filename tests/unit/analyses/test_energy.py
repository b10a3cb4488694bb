"""The share of an update's energy in another's space: 1 in the same, 0 at a right angle, and weighed by energy."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lorastream.analyses.energy import analyse, decomposed, decomposed_dense, shares
from lorastream.analyses.finished import FinishedRun
from lorastream.analyses.options import Options


def test_worked_by_hand() -> None:
    along_x = decomposed_dense(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    slanted = decomposed_dense(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))  # the same outputs; inputs 9/25 along the first
    below = decomposed_dense(torch.tensor([[0.0, 0.0], [5.0, 0.0]]))
    updates = [[along_x], [slanted], [below]]
    assert shares(updates, side="inputs")[0] == pytest.approx([1.0, 9 / 25, 1.0])
    assert shares(updates, side="outputs")[0] == pytest.approx([1.0, 1.0, 0.0])


def test_the_mean_is_over_projections() -> None:
    one = decomposed_dense(torch.tensor([[1.0, 0.0]]))
    other = decomposed_dense(torch.tensor([[0.0, 1.0]]))
    assert shares([[one, one], [one, other]], side="inputs")[0][1] == pytest.approx(0.5)


def test_factors_and_the_dense_update_have_the_same_spaces() -> None:
    generator = torch.Generator().manual_seed(0)
    up, down = torch.randn(7, 2, generator=generator), torch.randn(2, 5, generator=generator)
    (left, s, right), (dense_left, dense_s, dense_right) = decomposed(up, down), decomposed_dense(up @ down)
    torch.testing.assert_close(s, dense_s, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(left @ left.mT, dense_left @ dense_left.mT, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(right @ right.mT, dense_right @ dense_right.mT, rtol=1e-4, atol=1e-4)


def test_inf_lora_leaves_alone_what_it_protects_whatever_its_updates_share(
    finished: Callable[..., FinishedRun],
) -> None:
    found = analyse(finished("inf_lora", "method.rank=2"), Options())
    assert found.holds
    assert found.figures["share_of_protected_inputs"] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert all(0 < chance < 1 for chance in found.figures["chance_of_protected_inputs"])
    told = (
        "holds on this run: nothing of a new update's energy lies in the inputs protected before it (random updates: "
    )
    assert told in found.paragraph
    assert "Between updates, on average" in found.paragraph
