"""Cosines, attended weights and new directions, by hand and against the formula written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lorastream.prompts.selection import attended_weights, cosines, new_directions


def _randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_cosines_by_hand() -> None:
    queries = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    keys = torch.tensor([[1.0, 0.0], [0.0, -5.0], [3.0, 4.0]])
    torch.testing.assert_close(cosines(queries, keys), torch.tensor([[0.6, -0.8, 1.0], [0.0, -1.0, 0.8]]))


def test_a_weight_by_hand() -> None:
    """The query (1, 2), attended by (2, 1), is (2, 2); its cosine with (1, 0) is 1/√2, with (1, -1) nought."""
    query, attention = torch.tensor([[1.0, 2.0]]), torch.tensor([[[2.0, 1.0], [2.0, 1.0]]])
    keys = torch.tensor([[[1.0, 0.0], [1.0, -1.0]]])
    torch.testing.assert_close(attended_weights(query, attention, keys), torch.tensor([[[0.5**0.5, 0.0]]]))


@given(st.integers(0, 10**6))
def test_weights_are_cosines_of_attended_queries(seed: int) -> None:
    queries, attentions, keys = _randn(5, 7, seed=seed), _randn(2, 3, 7, seed=seed + 1), _randn(2, 3, 7, seed=seed + 2)
    attended = queries[None, :, None] * attentions[:, None]
    written_out = F.cosine_similarity(attended, keys[:, None], dim=-1)
    torch.testing.assert_close(attended_weights(queries, attentions, keys), written_out)


def test_their_gradients_are_those_of_the_formula() -> None:
    found: list[tuple[Tensor, ...]] = []
    for written_out in (True, False):
        attentions, keys = (_randn(2, 3, 7, seed=seed).requires_grad_() for seed in (1, 2))
        queries = _randn(5, 7)
        attended = queries[None, :, None] * attentions[:, None]
        weights = (
            F.cosine_similarity(attended, keys[:, None], dim=-1)
            if written_out
            else attended_weights(queries, attentions, keys)
        )
        found.append(torch.autograd.grad((weights * _randn(2, 5, 3, seed=4)).sum(), (attentions, keys)))
    torch.testing.assert_close(*found)


def test_a_query_or_attention_of_zeros_weighs_nothing() -> None:
    weights = attended_weights(torch.zeros(1, 3), torch.ones(1, 2, 3), torch.ones(1, 2, 3))
    assert torch.equal(weights, torch.zeros(1, 1, 2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_choices_are_made_in_float32_under_autocast(dtype: torch.dtype) -> None:
    queries, keys = _randn(4, 6, dtype=torch.float32), _randn(5, 6, seed=1, dtype=torch.float32)
    plain = cosines(queries, keys), attended_weights(queries, keys[None], keys[None])
    with torch.autocast("cpu", dtype=dtype):
        under = cosines(queries, keys), attended_weights(queries, keys[None], keys[None])
    assert all(torch.equal(one, other) for one, other in zip(plain, under, strict=True))
    assert cosines(queries.to(dtype), keys).dtype == torch.float32


def test_new_directions_stand_at_right_angles_to_all() -> None:
    past = _randn(3, 8)
    rows = new_directions(past, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rows @ rows.mT, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(rows @ past.mT, torch.zeros(4, 3, dtype=torch.float64))


def test_where_no_direction_is_left_units_are_drawn() -> None:
    rows = new_directions(_randn(3, 4), 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(rows.norm(dim=1), torch.ones(3, dtype=torch.float64))
    assert torch.allclose(rows[:1] @ _randn(3, 4).mT, torch.zeros(1, 3, dtype=torch.float64))
    assert new_directions(_randn(9, 4), 2, generator=torch.Generator()).shape == (2, 4)
    assert new_directions(_randn(0, 4), 2, generator=torch.Generator()).shape == (2, 4)
