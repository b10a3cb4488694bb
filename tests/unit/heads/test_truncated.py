"""The truncated head is least squares on all images at once, and with truncation on the largest part of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.heads import TruncatedHead


def _new(truncation: float = 0.0, max_rank: int = 1000) -> TruncatedHead:
    head = TruncatedHead(6)
    head.truncation, head.max_rank = truncation, max_rank
    return head


def _at_once(head: TruncatedHead, classes: list[Tensor], rank: int) -> Tensor:
    """Return W' of all images at once in float64: the largest singular values of H, and the rest left out."""
    rows = F.relu(torch.cat(classes) @ head.projection).double()
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(own) for own in classes]))
    left, values, right = torch.linalg.svd(rows, full_matrices=False)
    inverse = right[:rank].mT @ (left[:, :rank].mT / values[:rank, None])
    return (inverse @ F.one_hot(labels).double()).mT


def test_without_truncation_tasks_in_turn_are_least_squares_on_all_images_at_once(cloud: Any, taken_in: Any) -> None:
    classes = [cloud(label) for label in range(4)]
    head = taken_in(_new(), classes[:1], classes[1:3], classes[3:])
    assert len(head.values) == 30
    torch.testing.assert_close(head.weight.double(), _at_once(head, classes, 30), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("truncation", "max_rank", "rank"), [(0.25, 1000, 15), (0.9, 1000, 2), (0.0, 7, 7)])
def test_of_one_task_the_largest_singular_values_answer(
    truncation: float, max_rank: int, rank: int, cloud: Any, taken_in: Any
) -> None:
    classes = [cloud(label, n=10) for label in range(2)]
    head = taken_in(_new(truncation, max_rank), classes, n_features=50)
    assert len(head.values) == rank
    torch.testing.assert_close(head.weight.double(), _at_once(head, classes, rank), rtol=1e-3, atol=1e-5)


def test_with_truncation_every_task_may_keep_its_share_of_all_images(cloud: Any, taken_in: Any) -> None:
    classes = [cloud(label, n=8) for label in range(3)]
    head = taken_in(_new(0.25), *[[own] for own in classes], n_features=100)
    assert head.images == 24
    assert len(head.values) == 18  # 6 of 8, of those and 8 more 12, of those and 8 more 18


def test_more_random_features_than_images_do_not_overflow(cloud: Any, taken_in: Any) -> None:
    """Where every image has a direction of its own, the images taken in are told without an error."""
    classes = [cloud(label, n=5) for label in range(3)]
    head = taken_in(_new(), classes[:2], classes[2:], n_features=400)
    assert head(torch.cat(classes)).argmax(dim=1).tolist() == [label for label in range(3) for _ in range(5)]
