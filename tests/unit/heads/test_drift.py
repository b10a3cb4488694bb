"""Old means follow features that moved where that can be foretold on new classes, and stay where they are otherwise."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from lorastream.heads.drift import DriftKind, correct

KINDS: tuple[DriftKind, ...] = get_args(DriftKind)


def _classes(n_classes: int = 6, n: int = 40, width: int = 4, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(n_classes, width, generator=generator)
    return [centre + torch.randn(n, width, generator=generator) for centre in centres]


def _means(n: int = 3) -> Tensor:
    return torch.stack([own.mean(dim=0) for own in _classes(n, seed=5)])


@pytest.mark.parametrize("kind", KINDS)
def test_features_that_stayed_move_nothing(kind: DriftKind) -> None:
    before = _classes()
    assert correct(kind, _means(), before, before).moved is None


@pytest.mark.parametrize("kind", ["shift", "class_shift"])
def test_a_shift_of_all_features_is_the_shift_of_every_mean(kind: DriftKind) -> None:
    before, apart = _classes(), torch.tensor([1.0, -2.0, 0.5, 0.0])
    found = correct(kind, _means(), before, [own + apart for own in before])
    assert found.moved is not None
    assert found.error == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(found.moved.means, (_means() + apart).double(), atol=1e-5, rtol=0)
    assert found.moved.transform is None


def test_a_linear_map_is_found_and_handed_on_for_covariances() -> None:
    before, turn = (
        _classes(8, 200),
        torch.eye(4) + 0.2 * torch.tensor([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0] * 4, [0] * 4]),
    )
    found = correct("linear", _means(), before, [own @ turn.mT for own in before])
    assert found.moved is not None
    assert found.moved.transform is not None
    torch.testing.assert_close(found.moved.transform, turn.double(), atol=0.01, rtol=0)
    torch.testing.assert_close(found.moved.means, (_means() @ turn.mT).double(), atol=0.05, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_moves_that_say_nothing_of_other_classes_are_left_out(kind: DriftKind) -> None:
    """Each class moves its own way: what the others foretell is worse than nothing, or hardly better."""
    generator = torch.Generator().manual_seed(3)
    before = _classes(width=16)
    after = [own + 2 * torch.randn(16, generator=generator) for own in before]
    found = correct(kind, torch.zeros(2, 16), before, after)
    assert found.error is not None
    assert (found.moved is None) is (found.error >= 1)
    assert found.error > 0.8


def test_an_unguarded_map_would_have_moved() -> None:
    """The guard is what stands between: the move of one class alone says where the mean goes, and is refused."""
    before = _classes(2)
    after = [before[0] + 1.0, before[1] - 1.0]
    found = correct("shift", _means(), before, after, sigma=4.0)
    assert found.moved is None
    assert found.error == pytest.approx(4.0)  # (1 - -1)² over 1²


@pytest.mark.parametrize("kind", KINDS)
def test_with_one_new_class_nothing_can_be_tried(kind: DriftKind) -> None:
    before = _classes(1)
    found = correct(kind, _means(), before, [own + 1 for own in before])
    assert found.figures() == {"accepted": False, "setting": None, "error": None}


def test_a_nearer_image_weighs_more() -> None:
    """Two images at 0 and 2 moved by 1 and 3; σ = 1, mean 0: weights 1 and e^-2 over their sum."""
    before = [torch.tensor([[0.0]]), torch.tensor([[2.0]])]
    after = [torch.tensor([[1.0]]), torch.tensor([[5.0]])]
    found = correct("shift", torch.zeros(1, 1), before, after, sigma=1.0)
    # Held out: 0 -> 3 where 1 was true, 2 -> 3 where 5 was true: errors 4 and 4 over 1 and 9.
    assert found.error == pytest.approx(0.8)
    weight = 1 / (1 + torch.tensor(-2.0).exp().item())
    assert found.moved is not None
    assert found.moved.means.item() == pytest.approx(weight * 1 + (1 - weight) * 3)


def test_far_away_the_nearest_image_decides_and_nothing_vanishes() -> None:
    before = [torch.full((3, 2), float(k)) for k in range(4)]
    found = correct("shift", torch.full((1, 2), 1e4), before, [own + 1 for own in before], sigma=1.0)
    assert found.moved is not None
    torch.testing.assert_close(found.moved.means, torch.full((1, 2), 1e4 + 1, dtype=torch.float64))


def test_sigma_is_chosen_where_none_is_given() -> None:
    found = correct("shift", _means(), _classes(), [own * 1.1 for own in _classes()])
    assert found.setting in {1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0}
    assert found.moved is not None
