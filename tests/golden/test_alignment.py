"""Classifier alignment on numbers that were worked out by hand, in float64.

Logits (0.6, 0.8 | 0, 1) times s, two tasks of two classes: the norms of the tasks' logits are s and s, so n = s, and at
temperature 0.2 the softmax sees (3, 4, 0, 5). e³ + e⁴ + e⁰ + e⁵ = 224.0968, so the last class costs ln 224.0968 - 5.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lorastream.heads.alignment import Alignment, mean_logit_norm, mean_scales

SIZES = [2, 2]
LAST = torch.tensor([3])


def _logits(scale: float) -> Tensor:
    return (scale * torch.tensor([[0.6, 0.8, 0.0, 1.0]], dtype=torch.float64)).requires_grad_()


@pytest.mark.parametrize("scale", [1.0, 7.0, 1e-3])
def test_the_loss_divides_by_the_mean_norm_over_tasks_and_by_the_temperature(scale: float) -> None:
    logits = _logits(scale)
    loss = Alignment(temperature=0.2).loss(logits, LAST, SIZES)
    assert loss.item() == pytest.approx(math.log(224.0968) - 5, abs=1e-3 if scale < 1 else 1e-5)
    assert loss.item() == pytest.approx(0.41208, abs=1e-3 if scale < 1 else 1e-5)


def test_the_gradient_goes_through_the_norm_so_that_length_gains_nothing() -> None:
    """The loss does not change along the logits, so the gradient is orthogonal to them."""
    logits = _logits(2.0)
    (gradient,) = torch.autograd.grad(Alignment(temperature=0.2).loss(logits, LAST, SIZES), logits)
    assert gradient.abs().max() > 0.1
    assert (gradient * logits).sum().item() == pytest.approx(0, abs=1e-6)


def test_the_mean_over_tasks_is_not_the_norm_of_all_logits() -> None:
    """(3, 4 | 5, 12): norms 5 and 13, so n = 9; all together √194. Of one task they are the same."""
    logits = torch.tensor([[3.0, 4.0, 5.0, 12.0]], dtype=torch.float64)
    assert mean_logit_norm(logits, SIZES).item() == pytest.approx(9, abs=1e-6)
    assert mean_logit_norm(logits, [4]).item() == pytest.approx(math.sqrt(194), abs=1e-6)
    # At √2 times the temperature, `all` sees for s = 1 what `per_task` does: √2 · 0.2/√2 = 0.2.
    other = Alignment(temperature=0.2 / math.sqrt(2), logit_norm="all").loss(_logits(1), LAST, SIZES)
    assert other.item() == pytest.approx(0.41208, abs=1e-5)


def test_without_normalisation_it_is_the_plain_cross_entropy() -> None:
    logits = torch.tensor([[3.0, 4.0, 0.0, 5.0]], dtype=torch.float64)
    plain = Alignment(logit_norm="none", temperature=0.5).loss(logits, LAST, SIZES)
    assert plain.item() == pytest.approx(0.41208, abs=1e-5)


def test_means_shrink_with_the_age_of_their_task() -> None:
    """InfLoRA: 0.9 + 0.1 τ / t. At t = 4: 0.925, 0.95, 0.975, 1, for tasks of 1, 2, 1 and 1 classes."""
    assert mean_scales([1, 2, 1, 1], 0.9) == pytest.approx([0.925, 0.95, 0.95, 0.975, 1.0])
    assert mean_scales([3], 0.9) == [1.0, 1.0, 1.0]
    assert mean_scales([1, 1], 1.0) == [1.0, 1.0]
    assert mean_scales([1, 1], 0.5) == [0.75, 1.0]


def test_the_first_step_is_that_of_plain_descent_by_hand() -> None:
    """One class drawn at f = 2 with no spread, of two; rows 0: softmax ½, ½, gradient of row 0 (½ - 1) 2 = -1, bias -½.

    The class of the other row is drawn at f = 4: gradient of row 1 (½ - 1) 4 = -2 and of row 0 ½ · 4 = 2. The mean over
    both is weight (½ (-1 + 2), ½ (1 - 2)) = (½, -½), biases 0. With lr 0.1: weights (-0.05, 0.05).
    """
    from lorastream.heads import LinearHead
    from lorastream.heads.full_covariance import FullCovariance

    head = LinearHead(1)
    for _ in range(2):
        head.grow(1, generator=torch.Generator(), device=torch.device("cpu"))
    head.load_tensors({"weight": torch.zeros(2, 1), "bias": torch.zeros(2)}, [1, 1])
    head.double()
    statistics = FullCovariance(torch.tensor([[2.0], [4.0]]), torch.zeros(2, 1, 1))
    alignment = Alignment(
        epochs=1, samples_per_class=1, lr=0.1, weight_decay=0, logit_norm="none", mean_scale_first=1, ridge=0
    )
    alignment.align(head, statistics, [1, 1], generator=torch.Generator())
    tensors = head.tensors()
    assert tensors["weight"].flatten().tolist() == pytest.approx([-0.05, 0.05])
    assert tensors["bias"].tolist() == pytest.approx([0, 0], abs=1e-12)
