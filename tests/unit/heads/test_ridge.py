"""The ridge head is the regression on all images at once, whatever the order and the tasks they came in."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from torch import Tensor

from lorastream.errors import DataError
from lorastream.heads import RidgeHead
from lorastream.heads.stored import load_head

CPU = torch.device("cpu")


def _features(label: int, n: int = 20, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(label)
    return torch.randn(n, width, generator=generator) + 2 * torch.randn(width, generator=generator)


def _head(*tasks: list[Tensor], n_features: int = 30) -> RidgeHead:
    head, generator = RidgeHead(6), torch.Generator().manual_seed(0)
    for task in tasks:
        first = head.n_classes
        head.grow(len(task), generator=generator, device=CPU)
        if not first:
            head.project(n_features, generator=generator)
        head.take_in(first, task)
    return head


def test_it_is_scikit_learns_ridge_on_all_images() -> None:
    classes = [_features(label) for label in range(4)]
    head = _head(classes[:1], classes[1:])
    rows = F.relu(torch.cat(classes) @ head.projection).double().numpy()
    targets = F.one_hot(torch.arange(4).repeat_interleave(20)).double().numpy()
    expected = Ridge(alpha=head.penalty, fit_intercept=False).fit(rows, targets).coef_
    torch.testing.assert_close(head.weight.double(), torch.from_numpy(expected), rtol=1e-3, atol=1e-4)


def test_one_task_or_several_give_the_same_sums() -> None:
    classes = [_features(label) for label in range(4)]
    together, apart = _head(classes), _head(*[[own] for own in classes])
    torch.testing.assert_close(apart.gram, together.gram, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(apart.cross, together.cross, rtol=1e-5, atol=1e-3)
    rows = torch.cat(classes)
    labels = torch.arange(4).repeat_interleave(20)
    assert (apart(rows).argmax(dim=1) == labels).double().mean() > 0.9


def test_the_penalty_is_larger_where_there_is_more_noise() -> None:
    """Of pure noise nothing can be foretold: the held-out images ask for as much penalty as there is."""
    noise = [torch.randn(20, 6, generator=torch.Generator().manual_seed(9 + label)) for label in range(3)]
    assert _head(noise, n_features=200).penalty > 10 * _head([_features(k) for k in range(3)]).penalty


def test_classes_of_one_image_and_more_features_than_images_are_solved() -> None:
    head = _head([_features(0, n=1)], [_features(1, n=1), _features(2, n=3)], n_features=100)
    assert head.penalty == 1.0  # nothing to spare: as it was
    rows = torch.cat([_features(0, n=1), _features(1, n=1), _features(2, n=3)])
    assert head(rows).argmax(dim=1).tolist() == [0, 1, 2, 2, 2]


def test_old_answers_stay_when_there_is_room_for_more_and_later_ones_are_columns() -> None:
    head = _head([_features(0), _features(1)])
    rows = _features(5)
    before = head(rows)
    head.grow(2, generator=torch.Generator(), device=CPU)
    assert torch.equal(head(rows)[:, :2], before)
    assert torch.equal(head(rows, since=2), head(rows)[:, 2:])


def test_saved_loaded_and_a_class_forgotten() -> None:
    head = _head([_features(0), _features(1)], [_features(2)])
    rows = _features(5)
    loaded = load_head(head.tensors(), [2, 1])
    assert isinstance(loaded, RidgeHead)
    assert torch.equal(loaded(rows), head(rows))
    assert loaded.penalty == head.penalty
    for one in (head, loaded):
        one.forget(1)
        one.grow(1, generator=torch.Generator(), device=CPU)
        one.take_in(2, [_features(7)])
    assert head(rows).shape == (20, 3)
    assert torch.equal(loaded(rows), head(rows))
    assert head.empty().n_classes == 0


def test_a_warm_head_learns_in_its_place_until_images_are_taken_in() -> None:
    head, generator = RidgeHead(6), torch.Generator().manual_seed(0)
    head.grow(3, generator=generator, device=CPU)
    head.project(10, generator=generator)
    assert not list(head.parameters())
    head.begin(generator=generator)
    head(_features(0)).sum().backward()
    assert [p.grad is not None for p in head.parameters()] == [True]
    head.take_in(0, [_features(label) for label in range(3)])
    assert not list(head.parameters())


def test_features_that_are_not_finite_are_refused_with_their_class() -> None:
    with pytest.raises(DataError, match=r"(?s)class 1.*finite"):
        _head([_features(0), torch.full((2, 6), float("nan"))])
