"""Weighted sums of components: by the formula, the past without gradients, and at right angles as they begin."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.prompts import PromptComponents


def _components(tasks: int, *, n: int = 3, width: int = 8) -> PromptComponents:
    generator = torch.Generator().manual_seed(0)
    made = PromptComponents((0, 2), torch.empty(0, width, dtype=torch.float64))
    for _ in range(tasks):
        made.grow(n, 2, generator=generator)
    return made


def _queries(n: int = 5, width: int = 8) -> Tensor:
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_a_prefix_is_the_sum_of_the_formula() -> None:
    made, queries = _components(2), _queries()
    chosen = made(queries)
    assert set(chosen.prefixes) == {0, 2}
    for place, block in enumerate(made.blocks):
        for image, query in enumerate(queries):
            expected = torch.zeros(2, 2, 8, dtype=torch.float64)
            for prompts, keys, attentions in zip(made.prompts, made.keys, made.attentions, strict=True):
                for m in range(3):
                    weight = F.cosine_similarity(query * attentions[m, place], keys[m, place], dim=0)
                    expected += weight * prompts[m, place]
            torch.testing.assert_close(chosen.prefixes[block][image], expected)


def test_the_past_takes_no_gradient_and_the_newest_all_of_it() -> None:
    made = _components(2)
    sum(found.sum() for found in made(_queries()).prefixes.values()).backward()
    for rows in (made.prompts, made.keys, made.attentions):
        assert rows[0].grad is None
        assert rows[1].grad is not None
        assert rows[1].grad.any()


def test_components_begin_at_right_angles_to_those_before() -> None:
    made = _components(2, width=8)
    for rows in (made.prompts, made.keys, made.attentions):
        for place in range(2):
            table = torch.cat([own[:, place].flatten(start_dim=1) for own in rows])
            torch.testing.assert_close(table @ table.mT, torch.eye(6, dtype=torch.float64))
    torch.testing.assert_close(made.overlap(), torch.zeros((), dtype=torch.float64), atol=1e-12, rtol=0)


def test_overlap_by_hand() -> None:
    """Two keys of one block, (1, 0) and (1, 1): T T' - 1 is ((0, 1), (1, 1)), whose mean square is 3/4."""
    made = PromptComponents((0,), torch.empty(0, 2, dtype=torch.float64))
    made.grow(2, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.keys[0][:, 0] = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(made.overlap(), torch.tensor(0.75, dtype=torch.float64))


def test_more_components_than_directions_are_no_fault() -> None:
    made = _components(4, n=3, width=4)
    assert torch.isfinite(made(_queries(width=4)).prefixes[0]).all()
