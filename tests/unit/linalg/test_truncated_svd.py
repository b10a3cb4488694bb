"""Rows that come in turn, against the decomposition of all of them at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lorastream.linalg.truncated_svd import append_rows, least_squares


def _rows(n: int, width: int = 9, seed: int = 0) -> Tensor:
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _in_turn(parts: list[Tensor], kept: int) -> tuple[Tensor, Tensor]:
    values, directions = torch.empty(0, dtype=torch.float64), torch.empty(0, parts[0].shape[1], dtype=torch.float64)
    for part in parts:
        values, directions = append_rows(values, directions, part, kept=kept)
    return values, directions


@pytest.mark.parametrize("sizes", [(4, 3), (1, 1, 1), (2, 20, 3)])
def test_without_truncation_it_is_that_of_all_rows_at_once(sizes: tuple[int, ...]) -> None:
    parts = [_rows(n, seed=seed) for seed, n in enumerate(sizes)]
    values, directions = _in_turn(parts, kept=100)
    _, expected, right = torch.linalg.svd(torch.cat(parts), full_matrices=False)
    torch.testing.assert_close(values, expected)
    # A direction has no sign of its own; what it spans, weighed by its value, is the rows' Gram matrix.
    gram = directions.mT @ (values.square()[:, None] * directions)
    torch.testing.assert_close(gram, right.mT @ (expected.square()[:, None] * right))


def test_by_hand() -> None:
    """Old rows (3, 0), known by the value 3 along the first axis; a new row (0, 4) is the larger one."""
    old = append_rows(torch.empty(0), torch.empty(0, 2), torch.tensor([[3.0, 0.0]]), kept=2)
    values, directions = append_rows(*old, torch.tensor([[0.0, 4.0]]), kept=2)
    assert values.tolist() == pytest.approx([4.0, 3.0])
    assert directions.abs().tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert append_rows(*old, torch.tensor([[0.0, 4.0]]), kept=1)[0].tolist() == pytest.approx([4.0])


def test_what_rounding_alone_holds_is_left_out() -> None:
    values, directions = append_rows(torch.empty(0), torch.empty(0, 3), torch.ones(5, 3), kept=10)
    assert values.tolist() == pytest.approx([15**0.5])
    assert directions.shape == (1, 3)
    assert append_rows(torch.empty(0), torch.empty(0, 3), torch.zeros(5, 3), kept=10)[0].shape == (0,)


def test_least_squares_is_that_of_least_norm() -> None:
    rows, targets = _rows(5), _rows(5, width=2, seed=1)  # fewer rows than columns
    values, directions = _in_turn([rows[:2], rows[2:]], kept=100)
    expected = torch.linalg.pinv(rows) @ targets
    torch.testing.assert_close(least_squares(values, directions, rows.mT @ targets), expected)
