"""Ranks stand in order of what they give the outputs, and the weakest make room, at right angles to all that stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lorastream import methods
from lorastream.methods.protocol import learnt_state, load_learnt_state

QUERY, MLP = "blocks.0.attn.qkv/query", "blocks.1.mlp.fc1/mlp_in"


def _adapter(taught: Any, name: str) -> Any:
    return dict(taught.model.adapters.items())[name]


def _inputs(taught: Any, task: Any, layer: str) -> Tensor:
    """Return all rows that flow into a layer from the plain images of a task."""
    seen: list[Tensor] = []
    watch = taught.model.adapters.layers[layer].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for _ in taught.model.passes(task.train):
        pass
    watch.remove()
    return torch.cat([rows.detach().flatten(end_dim=-2) for rows in seen])


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("name", [QUERY, MLP])
def test_after_a_task_the_ranks_are_the_principal_directions_of_what_the_outputs_moved(
    trial: Any, name: str, centred: bool
) -> None:
    taught = trial("energy_lora", rank=3, centred=centred)
    task = taught.begin(0)
    seen: dict[str, Tensor] = {}
    freeze = taught.model.adapters.freeze

    def before() -> None:
        freeze()
        seen["delta"] = _adapter(taught, name).delta()

    taught.model.adapters.freeze = before
    taught.end(task)
    adapter = _adapter(taught, name)
    torch.testing.assert_close(adapter.delta(), seen["delta"])
    moved = _inputs(taught, task, name.rpartition("/")[0]) @ seen["delta"].mT
    moved = moved - moved.mean(dim=0) if centred else moved
    _, values, right = torch.linalg.svd(moved, full_matrices=False)
    for column in range(3):
        assert float((adapter.up_stack[:, column] @ right[column]).abs()) == pytest.approx(1, abs=1e-5)
    shares = values.square() / values.square().sum()
    expected = torch.cat([shares.new_zeros(1), shares.cumsum(dim=0)[:2]])
    torch.testing.assert_close(taught.method.before_[name], expected, atol=1e-7, rtol=1e-5)


def test_what_is_released_is_little_and_the_new_directions_are_free_and_do_not_learn(trial: Any) -> None:
    taught = trial("energy_lora", rank=8, energy=0.95)
    task = taught.begin(0)
    taught.end(task)
    before = {name: (adapter.delta(), adapter.up_stack.clone()) for name, adapter in taught.model.adapters.items()}
    taught.begin(1)
    released = 0
    for name, adapter in taught.model.adapters.items():
        old, directions = before[name]
        kept, new = adapter.ranks
        torch.testing.assert_close(adapter.up_stack[:, :kept], directions[:, :kept])
        torch.testing.assert_close(adapter.up[:, : 8 - kept], directions[:, kept:])
        together = torch.cat([adapter.up_stack[:, :kept], adapter.up.detach()], dim=1)
        torch.testing.assert_close(together.mT @ together, torch.eye(kept + new, dtype=torch.float64))
        assert not adapter.up.requires_grad
        assert not adapter.down.any()
        rows = _inputs(taught, task, name.rpartition("/")[0])
        gone, all_of_it = ((rows @ delta.mT) for delta in (old - adapter.delta(), old))
        assert (gone - gone.mean(dim=0)).norm() ** 2 <= 0.0501 * (all_of_it - all_of_it.mean(dim=0)).norm() ** 2
        assert new == 8
        released += 8 - kept
    assert released > 0
    assert {id(p) for p in taught.learning()} & {id(a.down) for a in taught.model.adapters}


def test_without_a_cap_the_new_update_takes_all_that_is_free_and_the_past_keeps_its_share_of_the_width(
    trial: Any,
) -> None:
    taught = trial("energy_lora").teach(1)
    assert _adapter(taught, QUERY).ranks == [32]
    assert _adapter(taught, MLP).ranks == [32]  # of 64 outputs
    taught.method.energy = 1.0
    for index in (1, 2):
        taught.end(taught.begin(index))
        for name, adapter in taught.model.adapters.items():
            width = adapter.out_features
            assert adapter.total_rank == width
            assert sum(adapter.ranks[:-1]) <= index * width // (index + 1), name
            torch.testing.assert_close(
                adapter.up_stack.mT @ adapter.up_stack, torch.eye(width, dtype=torch.float64), atol=1e-6, rtol=0
            )


def test_there_may_be_more_tasks_than_outputs(trial: Any) -> None:
    taught = trial("energy_lora", targets=("query",)).teach(1)
    adapter, rows = _adapter(taught, QUERY), torch.zeros(40, 32, dtype=torch.float64)
    columns = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)).double()).Q
    adapter.load(columns, rows[:32], rows[0].new_ones(32), [0] * 8 + [1] * 32)
    taught.method.before_[QUERY] = torch.zeros(32, dtype=torch.float64)
    taught.begin(1)
    assert adapter.ranks == [0] * 9 + [1] * 31 + [1]


def test_its_state_goes_through_saving_and_the_record_tells_the_ranks(trial: Any) -> None:
    taught = trial("energy_lora", rank=2).teach(1)
    taught.end(taught.begin(1))
    state = learnt_state(taught.method)
    loaded: Any = methods.build("energy_lora", {"rank": 2})
    load_learnt_state(loaded, state)
    assert {name: tensor.tolist() for name, tensor in learnt_state(loaded).items()} == {
        name: tensor.tolist() for name, tensor in state.items()
    }
    figures = taught.method.figures(taught.model)
    assert figures["ranks"] == taught.model.adapters.ranks
    for name, adapter in taught.model.adapters.items():
        assert [figures["kept_ranks"][name], figures["new_ranks"][name]] == adapter.ranks
