"""The ranks of an update are cut by their share of its energy, or by gates that shrink to zero; numbers by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lorastream.adapters import Adapters, attach
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.learner import Learner
from lorastream.training.ranks import Ranks
from lorastream.training.settings import RankSettings


def _adapters(rank: int, seed: int = 0) -> Adapters:
    """Return live adapters of a rank on one layer of 5 inputs and 4 outputs, with a past update."""
    adapters = attach(nn.Sequential(nn.Linear(5, 4, dtype=torch.float64)), "0")
    generator = torch.Generator().manual_seed(seed)
    adapters.grow(2, generator=generator, up_std=1.0)
    adapters.freeze()
    adapters.grow(rank, generator=generator, up_std=1.0)
    return adapters


def test_an_update_is_cut_by_hand() -> None:
    """Its singular values are 3, 2 and 1: of the energy 14 the first hold 9, 13 and 14."""
    for share, ranks in ((9 / 14, 1), (0.65, 2), (13 / 14, 2), (0.95, 3)):
        adapters = _adapters(3)
        (adapter,) = adapters
        assert adapter.up is not None
        assert adapter.down is not None
        with torch.no_grad():
            adapter.up.copy_(torch.eye(4, 3).double() * torch.tensor([1.0, 3.0, 2.0]))
            adapter.down.copy_(torch.eye(3, 5).double())
        chosen = Ranks(adapters, RankSettings(policy="energy", share=share))
        chosen.settle()
        adapters.freeze()
        whole = adapter.delta()
        chosen.delete()
        assert torch.equal(adapter.delta(), whole)
        assert adapter.ranks == [2, ranks]
        assert chosen.figures() == {"kept_ranks": {"0/part0": ranks}}
        *_, (up, down) = adapter.factors()
        expected = torch.zeros(4, 5, dtype=torch.float64)
        for place, size in [(1, 3.0), (2, 2.0), (0, 1.0)][:ranks]:
            expected[place, place] = size
        torch.testing.assert_close(up @ down, expected)


@given(st.integers(0, 1000), st.floats(0.3, 1))
def test_what_is_cut_is_no_more_than_the_rest_of_the_share(seed: int, share: float) -> None:
    adapters = _adapters(4, seed)
    (adapter,) = adapters
    before = adapter.delta()
    update = (adapter.up @ adapter.down).detach() if adapter.up is not None and adapter.down is not None else before
    chosen = Ranks(adapters, RankSettings(policy="energy", share=share))
    chosen.settle()
    adapters.freeze()
    chosen.delete()
    gone = (before - adapter.delta()).square().sum()
    assert gone <= (1 - share) * update.square().sum() + 1e-9
    values = torch.linalg.svdvals(update).square()
    one_fewer = values[: adapter.ranks[-1] - 1].sum()
    assert one_fewer < share * values.sum() + 1e-9, "as few ranks as hold the share"


def test_gates_shrink_by_rate_times_penalty_and_no_further_than_zero_by_hand() -> None:
    adapters = _adapters(4)
    (adapter,) = adapters
    chosen = Ranks(adapters, RankSettings(policy="gated_l1", penalty=2.0))
    assert adapter.rank_gate is not None
    assert adapter.rank_gate.tolist() == [1, 1, 1, 1]
    with torch.no_grad():
        adapter.rank_gate.copy_(torch.tensor([1.0, -0.5, 0.15, -0.1]))
    groups = [{"params": [adapter.up, adapter.down], "lr": 7.0}, {"params": [adapter.rank_gate], "lr": 0.1}]
    chosen.after_step(torch.optim.SGD(groups))
    torch.testing.assert_close(adapter.rank_gate.detach(), torch.tensor([0.8, -0.3, 0, 0], dtype=torch.float64))
    before = adapter.delta()
    chosen.settle()
    assert adapter.rank_gate is None
    torch.testing.assert_close(adapter.delta(), before)
    adapters.freeze()
    chosen.delete()
    assert adapter.ranks == [2, 2]
    torch.testing.assert_close(adapter.delta(), before)


def test_one_rank_is_left_even_of_an_update_that_is_zero() -> None:
    for policy in ("energy", "gated_l1"):
        adapters = _adapters(3)
        (adapter,) = adapters
        assert adapter.up is not None
        with torch.no_grad():
            adapter.up.zero_()
        chosen = Ranks(adapters, RankSettings.model_validate({"policy": policy}))
        chosen.settle()
        adapters.freeze()
        chosen.delete()
        assert adapter.ranks == [2, 1]
        assert chosen.kept == {"0/part0": 1}


def test_a_heavy_penalty_leaves_few_ranks_and_a_light_one_all(
    tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream]
) -> None:
    stream, kept = synthetic_stream(images=6), dict[float, list[int]]()
    for penalty in (1e-6, 3.0):
        training: dict[str, Any] = {"epochs": 2, "batch_size": 4, "lr": 0.1, "momentum": 0.0}
        ranks = {"policy": "gated_l1", "penalty": penalty}
        learner = Learner(tiny_backbone(), "sd_lora", training={**training, "ranks": ranks}, rank=4)
        learnt = [learner.learn(stream[index]) for index in range(2)]
        kept[penalty] = list(learnt[1].figures["kept_ranks"].values())
        assert learner.model.adapters.ranks == learnt[1].figures["ranks"]
        assert learner.model.adapters.ranks[-1] == max(kept[penalty])
    assert set(kept[1e-6]) == {4}
    assert max(kept[3.0]) < 4
