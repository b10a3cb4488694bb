"""The ridge head is the regression on all images at once, whatever the order and the tasks they came in."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from lorastream.heads import RidgeHead


def test_it_is_scikit_learns_ridge_on_all_images(cloud: Any, taken_in: Any) -> None:
    classes = [cloud(label) for label in range(4)]
    head = taken_in(RidgeHead(6), classes[:1], classes[1:])
    rows = F.relu(torch.cat(classes) @ head.projection).double().numpy()
    targets = F.one_hot(torch.arange(4).repeat_interleave(20)).double().numpy()
    expected = Ridge(alpha=head.penalty, fit_intercept=False).fit(rows, targets).coef_
    torch.testing.assert_close(head.weight.double(), torch.from_numpy(expected), rtol=1e-3, atol=1e-4)


def test_one_task_or_several_give_the_same_sums(cloud: Any, taken_in: Any) -> None:
    classes = [cloud(label) for label in range(4)]
    together, apart = taken_in(RidgeHead(6), classes), taken_in(RidgeHead(6), *[[own] for own in classes])
    torch.testing.assert_close(apart.gram, together.gram, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(apart.cross, together.cross, rtol=1e-5, atol=1e-3)
    rows = torch.cat(classes)
    labels = torch.arange(4).repeat_interleave(20)
    assert (apart(rows).argmax(dim=1) == labels).double().mean() > 0.9


def test_the_penalty_is_larger_where_there_is_more_noise(cloud: Any, taken_in: Any) -> None:
    """Of pure noise nothing can be foretold: the held-out images ask for as much penalty as there is."""
    noise = [torch.randn(20, 6, generator=torch.Generator().manual_seed(9 + label)) for label in range(3)]
    assert (
        taken_in(RidgeHead(6), noise, n_features=200).penalty
        > 10 * taken_in(RidgeHead(6), [cloud(k) for k in range(3)]).penalty
    )


def test_classes_of_one_image_and_more_features_than_images_are_solved(cloud: Any, taken_in: Any) -> None:
    head = taken_in(RidgeHead(6), [cloud(0, n=1)], [cloud(1, n=1), cloud(2, n=3)], n_features=100)
    assert head.penalty == 1.0  # nothing to spare: as it was
    rows = torch.cat([cloud(0, n=1), cloud(1, n=1), cloud(2, n=3)])
    assert head(rows).argmax(dim=1).tolist() == [0, 1, 2, 2, 2]
