"""The share of an update's energy in another's space: 1 in the same, 0 at a right angle, and weighed by energy."""

from __future__ import annotations

import pytest
import torch

from lorastream.analyses.energy import decomposed, decomposed_dense, shares


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
