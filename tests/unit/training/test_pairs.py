"""The pairs of a batch against loops that follow the formula, however the batch is cut."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.data.task import Batch
from lorastream.training.pairs import RIDGE, WIDENED, Pairs

WIDTH = 4


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _precision(features: Tensor) -> Tensor:
    covariance = torch.cov(features.double().T)
    off = covariance[~torch.eye(WIDTH, dtype=torch.bool)].mean()
    wide = covariance + WIDENED * covariance.diagonal().mean() * torch.eye(WIDTH)
    wide = wide + WIDENED * off * (1 - torch.eye(WIDTH)) + RIDGE * torch.eye(WIDTH)
    return torch.linalg.inv(wide)


@pytest.mark.parametrize("n_parts", [1, 2, 3])
def test_they_are_those_of_the_formula_however_the_batch_is_cut(n_parts: int) -> None:
    known = [_random(9, WIDTH, seed=1) * torch.tensor([1.0, 2, 3, 4]), _random(7, WIDTH, seed=2)]
    before, network = _random(5, WIDTH, seed=3), torch.nn.Linear(WIDTH, WIDTH)
    network.weight.data = _random(WIDTH, WIDTH, seed=4)
    labels = torch.tensor([6, 7, 6, 6, 7])
    batch = Batch(images=before, labels=labels, indices=torch.tensor([3, 9, 4, 8, 1]), global_size=5)
    after = F.normalize(network(before).double(), dim=1)
    expected = after.new_zeros(())
    for i in range(5):
        for j in range(i + 1, 5):
            if labels[i] == labels[j]:
                precision = _precision(known[int(labels[i]) - 6])
                apart, were = (own[i] - own[j] for own in (after, F.normalize(before.double(), dim=1)))
                expected = expected + ((apart @ precision @ apart).sqrt() - (were @ precision @ were).sqrt()).abs() / 5
    pairs, parts = Pairs(known, 6, torch.device("cpu")), batch.split(n_parts)
    pairs.look_at(parts, after=network, before=lambda images: images, width=WIDTH)
    found = torch.stack([len(p) / 5 * pairs.change(p, network(p.images), p.images) for p in parts]).sum()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    weights = list(network.parameters())
    for one, other in zip(*(torch.autograd.grad(own, weights) for own in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_without_two_of_a_class_there_is_nothing_and_no_gradient() -> None:
    pairs = Pairs([_random(1, WIDTH, seed=1), _random(1, WIDTH, seed=2)], 0, torch.device("cpu"))
    images = _random(2, WIDTH, seed=3).requires_grad_()
    part = Batch(images=images, labels=torch.tensor([0, 1]), indices=torch.tensor([0, 1]), global_size=2)
    found = pairs.change(part, 2 * images, images.detach())
    assert float(found.detach()) == 0
    assert not torch.autograd.grad(found, images)[0].any()
