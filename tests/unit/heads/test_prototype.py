"""Prototypes are class means, and the answer is the mean of largest cosine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from lorastream.heads import PrototypeHead

CPU = torch.device("cpu")


def _grown(width: int, *sizes: int) -> PrototypeHead:
    head = PrototypeHead(width)
    for size in sizes:
        head.grow(size, generator=torch.Generator(), device=CPU)
    return head


def _blobs(n_classes: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(20 * n_classes) % n_classes
    centres = torch.randn(n_classes, width, generator=generator)
    return centres[labels] + 0.8 * torch.randn(len(labels), width, generator=generator), labels


def test_similarities_are_the_cosines_that_numpy_computes() -> None:
    features, labels = _blobs(5, 8)
    means = torch.stack([features[labels == k].mean(dim=0) for k in range(5)])
    head = _grown(8, 2, 3)
    head.set_prototypes(0, means[:2])
    head.set_prototypes(2, means[2:])
    f, m = features.numpy().astype(np.float64), means.numpy().astype(np.float64)
    expected = (f @ m.T) / np.outer(np.linalg.norm(f, axis=1), np.linalg.norm(m, axis=1))
    np.testing.assert_allclose(head(features).numpy(), expected, atol=1e-6)


def test_answers_are_those_of_scikit_learn_on_the_unit_sphere() -> None:
    """On the sphere the nearest point is that of largest cosine, so its centroids, taken there, must agree."""
    features, labels = _blobs(6, 10)
    unit = torch.nn.functional.normalize(features, dim=1)
    model = NearestCentroid().fit(unit.numpy(), labels.numpy())
    model.centroids_ /= np.linalg.norm(model.centroids_, axis=1, keepdims=True)
    head = _grown(10, 6)
    head.set_prototypes(0, torch.stack([unit[labels == k].mean(dim=0) for k in range(6)]))
    ours = head(features).argmax(dim=1).numpy()
    np.testing.assert_array_equal(ours, model.predict(unit.numpy()))
    assert 0.5 < (ours == labels.numpy()).mean() < 1.0


@pytest.mark.parametrize("new", [1, 2, 5, 20])
@pytest.mark.parametrize("images", [1, 3, 40])
def test_growth_and_later_tasks_leave_old_means_and_similarities_bit_identical(images: int, new: int) -> None:
    head, features = _grown(32, 2), torch.randn(images, 32)
    head.set_prototypes(0, torch.randn(2, 32))
    before, similarities = head.prototypes.clone(), head(features)
    head.grow(new, generator=torch.Generator(), device=CPU)
    head.set_prototypes(2, torch.randn(new, 32))
    assert head.n_classes == 2 + new
    assert torch.equal(head.prototypes[:2], before)
    assert torch.equal(head(features)[:, :2], similarities)
    assert head.prototypes[2:].any(dim=1).all()


def test_a_class_without_a_mean_has_similarity_zero() -> None:
    head = _grown(4, 2)
    head.set_prototypes(0, torch.ones(1, 4))
    assert head(torch.ones(1, 4)).tolist() == [[1.0, 0.0]]


def test_nothing_of_it_learns() -> None:
    head = _grown(4, 2)
    head.learn(newest_only=False)
    assert not list(head.parameters())


def test_save_load_and_restart() -> None:
    head = _grown(4, 3)
    head.set_prototypes(0, torch.randn(3, 4))
    tensors = head.tensors()
    loaded = PrototypeHead(4)
    loaded.load_tensors(tensors, [3])
    tensors["prototypes"].zero_()
    assert torch.equal(loaded.prototypes, head.prototypes)
    head.restart(generator=torch.Generator())
    assert not head.prototypes.any()
    assert head.n_classes == 3


def test_a_forgotten_mean_is_gone_and_the_others_stay() -> None:
    head = PrototypeHead(3)
    for size in (2, 1):
        head.grow(size, generator=torch.Generator(), device=torch.device("cpu"))
    head.set_prototypes(0, torch.eye(3))
    head.forget(1)
    assert head.sizes == [1, 1]
    head.forget(1)
    assert head.sizes == [1, 0]
    assert torch.equal(head.prototypes, torch.eye(3)[:1])
    assert head(torch.ones(2, 3)).shape == (2, 1)
