"""R_ij = ‖W_i - W_j‖ / ‖W_i - W0‖: 0 for equal updates, √2 for unrelated ones, and it knows whose length it is over."""

from __future__ import annotations

import math

import pytest
import torch

from lorastream.analyses.closeness import concluded, gram_of, random_updates, relative_distances
from lorastream.randomness import Randomness


def test_relative_distances_worked_by_hand() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
    found = relative_distances(vectors @ vectors.mT)
    expected = [[0, math.sqrt(2), 1], [math.sqrt(2), 0, math.sqrt(5)], [1 / 2, math.sqrt(5) / 2, 0]]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected))


def test_inner_products_are_those_of_the_dense_updates_over_all_projections() -> None:
    generator = torch.Generator().manual_seed(0)
    updates = [
        [(torch.randn(5, 2, generator=generator), torch.randn(2, 4, generator=generator)) for _ in range(3)]
        for _ in range(2)
    ]
    dense = torch.stack([torch.cat([(up @ down).flatten() for up, down in update]) for update in updates]).double()
    torch.testing.assert_close(gram_of(updates), dense @ dense.mT, rtol=1e-5, atol=1e-5)


def test_the_control_is_as_long_as_what_it_stands_for_and_unrelated() -> None:
    generator = torch.Generator().manual_seed(1)
    down = torch.randn(10, 64, generator=generator)
    common = torch.randn(64, 10, generator=generator)
    updates = [[(common + 0.1 * torch.randn(64, 10, generator=generator), down)] for _ in range(2)]
    drawn = random_updates(updates, Randomness(0))
    torch.testing.assert_close(gram_of(drawn).diagonal(), gram_of(updates).diagonal())
    assert relative_distances(gram_of(drawn))[0][1] == pytest.approx(math.sqrt(2), rel=0.1)
    assert relative_distances(gram_of(updates))[0][1] < 0.2


@pytest.mark.parametrize(
    ("distance", "accuracies", "holds", "said"),
    [
        (0.4, [0.9, 0.9], True, "The claim holds"),
        (0.9, [0.9, 0.9], False, "nearer to each other than to the start"),
        (1.3, [0.9, 0.9], False, "The claim does not hold on this run: "),
        (0.4, [0.9, 0.2], None, "cannot tell"),
    ],
)
def test_the_verdict_is_of_tasks_that_were_learnt(
    distance: float, accuracies: list[float], *, holds: bool | None, said: str
) -> None:
    table = [[0.0, distance], [distance, 0.0]]
    found = concluded(table, 1.41, accuracies)
    assert found.holds is holds
    assert said in found.paragraph
