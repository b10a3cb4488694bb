"""Changes of features by hand, against loops in float64, and however a batch is cut."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lorastream.linalg.feature_changes import distance_change, patch_change, whitened


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_change_of_patches_by_hand() -> None:
    """One stays; one at 90° to the class token turns by 90°: half its distance of √2 counts; the mean is of two."""
    class_token = torch.tensor([[3.0, 0]])
    after = torch.tensor([[[5.0, 0], [0, 2]]])
    before = torch.tensor([[[1.0, 0], [7, 0]]])
    assert float(patch_change(after, before, class_token)) == pytest.approx(0.5 * math.sqrt(2) / 2)


def test_a_patch_like_the_class_token_may_move_and_one_opposite_may_not() -> None:
    after = torch.tensor([[[1.0, 0]]])
    before = torch.tensor([[[0.0, 1]]])
    for sign, weight in ((1, 0.0), (-1, 1.0)):
        found = patch_change(after, before, torch.tensor([[2.0 * sign, 0]]))
        assert float(found) == pytest.approx(weight * math.sqrt(2), abs=1e-3)  # acos near 1 is that coarse in float32


def test_the_change_of_patches_against_loops_and_its_gradient_leaves_the_weights_alone() -> None:
    after, before, class_token = _random(2, 3, 4), _random(2, 3, 4, seed=1), _random(2, 4, seed=2)
    after.requires_grad_()
    expected = after.new_zeros(())
    for i in range(2):
        for p in range(3):
            a, b, c = after[i, p], before[i, p], class_token[i]
            weight = torch.acos(a.detach() @ c / a.detach().norm() / c.norm()) / math.pi
            expected = expected + weight * (a / a.norm() - b / b.norm()).norm() / 6
    found = patch_change(after, before, class_token)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(one, after)[0] for one in (found, expected)))


def test_patches_that_stayed_cost_nothing_and_have_no_gradient() -> None:
    after = _random(1, 3, 4).requires_grad_()
    found = patch_change(after, after.detach(), _random(1, 4))
    assert float(found.detach()) == 0
    assert not torch.autograd.grad(found, after)[0].any()


def test_the_distance_of_white_rows_is_that_of_mahalanobis_at_unit_length() -> None:
    features, whiten = _random(3, 4), _random(2, 4, 4, seed=1)
    rows = whitened(features, torch.tensor([1, 0, 1]), whiten)
    apart = features[0] / features[0].norm() - features[2] / features[2].norm()
    precision = whiten[1].mT @ whiten[1]
    torch.testing.assert_close((rows[0] - rows[2]).square().sum(), apart @ precision @ apart)


def test_the_change_of_distances_by_hand() -> None:
    """Of three rows the first two are a pair: 3 apart, 1 before; so the sum is 2, of three images."""
    after = torch.tensor([[0.0, 0], [3, 0], [9, 9]])
    before = torch.tensor([[0.0, 0], [0, 1], [0, 0]])
    pairs = torch.tensor([[False, True, False], [True, False, False], [False, False, False]])
    assert float(distance_change(after, before, (after, before), pairs)) == pytest.approx(2 / 3)


@pytest.mark.parametrize("sizes", [(6,), (4, 2), (1, 3, 2)])
def test_value_and_gradient_are_those_of_all_pairs_however_the_batch_is_cut(sizes: tuple[int, ...]) -> None:
    after, before = _random(6, 4).requires_grad_(), _random(6, 4, seed=1)
    labels = torch.tensor([0, 1, 0, 0, 1, 2])
    pairs = (labels[:, None] == labels) & ~torch.eye(6, dtype=torch.bool)
    expected = after.new_zeros(())
    for i in range(6):
        for j in range(i + 1, 6):
            if labels[i] == labels[j]:
                expected = expected + ((after[i] - after[j]).norm() - (before[i] - before[j]).norm()).abs() / 6
    first, found = 0, after.new_zeros(())
    for size in sizes:
        own = slice(first, first + size)
        found = found + size / 6 * distance_change(after[own], before[own], (after, before), pairs[own])
        first += size
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(one, after)[0] for one in (found, expected)))


def test_a_change_of_the_size_of_rounding_is_none_and_has_no_gradient() -> None:
    """Else its random direction would be the first step of every task."""
    before = _random(3, 4)
    after = (before + 1e-7 * _random(3, 4, seed=1)).requires_grad_()
    pairs = ~torch.eye(3, dtype=torch.bool)
    found = [
        distance_change(after, before, (after, before), pairs),
        patch_change(after[None], before[None], -before[:1]),
    ]
    for one in found:
        assert float(one.detach()) == 0
        assert not torch.autograd.grad(one, after)[0].any()
