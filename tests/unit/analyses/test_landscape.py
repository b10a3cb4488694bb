"""The plane through three weights: distances are those of the weights, and the three are where they are said to be."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lorastream.analyses.landscape import barriers_between, shares_at, triangle
from lorastream.analyses.weights import combined
from lorastream.errors import MethodError

PLACES = [(0.0, 0.0), (3.0, 0.0), (1.0, 4.0)]


def weights(*values: float) -> dict[str, torch.Tensor]:
    """Return weights of two layers."""
    half = len(values) // 2
    return {"a": torch.tensor(values[:half]), "b": torch.tensor(values[half:])}


def test_a_right_triangle_lies_as_drawn() -> None:
    corners = [weights(1.0, 1.0), weights(4.0, 1.0), weights(1.0, 5.0)]
    assert [value for place in triangle(corners) for value in place] == pytest.approx([0, 0, 3, 0, 0, 4])


def test_corners_and_the_middle_have_the_shares_of_a_hand() -> None:
    for k, place in enumerate(PLACES):
        assert shares_at(PLACES, place) == pytest.approx([float(i == k) for i in range(3)])
    assert shares_at(PLACES, (1.5, 0.0)) == pytest.approx((0.5, 0.5, 0.0))


@given(x=st.floats(-9, 9), y=st.floats(-9, 9))
def test_shares_add_up_and_lead_back_to_the_place(x: float, y: float) -> None:
    shares = shares_at(PLACES, (x, y))
    assert sum(shares) == pytest.approx(1)
    back = combined([weights(*place) for place in PLACES], shares)
    assert (float(back["a"]), float(back["b"])) == pytest.approx((x, y), abs=1e-4)


def test_three_on_a_line_span_no_plane() -> None:
    with pytest.raises(MethodError, match="one line"):
        triangle([weights(0.0, 0.0), weights(1.0, 0.0), weights(2.0, 0.0)])
    with pytest.raises(MethodError, match="one line"):
        triangle([weights(0.0, 0.0), weights(0.0, 0.0), weights(2.0, 0.0)])


def test_a_barrier_is_what_lies_above_the_higher_end() -> None:
    assert barriers_between([1.0, 2.0, 3.0], [2.5, 2.5, 1.0]) == pytest.approx([0.5, -0.5, -2.0])
