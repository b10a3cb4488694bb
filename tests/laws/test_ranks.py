"""Laws on `training.ranks` with any method: cut, saved, merged, taught on alike; or refused before learning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from lorastream import methods
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.errors import RecipeError
from lorastream.learner import Learner
from lorastream.methods.protocol import RankPolicy

POLICIES: dict[str, dict[str, Any]] = {
    "energy": {"policy": "energy", "share": 0.6},
    "gated_l1": {"policy": "gated_l1", "penalty": 6.0},
}
SMALLER: dict[str, dict[str, Any]] = {key: {"random_features": 60} for key in ("ran_pac", "ran_pac_lora", "loranpac")}
CASES = [
    (name, policy)
    for name in methods.names()
    for policy in methods.build(name, SMALLER.get(name, {})).traits.rank_policies
]
REFUSED = [(name, policy) for name in methods.names() for policy in get_args(RankPolicy) if (name, policy) not in CASES]
Make = Callable[..., Learner]


@pytest.fixture
def make(tiny_backbone: Callable[[], Backbone]) -> Make:
    """Return what makes a learner of a method, of which a policy chooses the ranks."""

    def learner(name: str, policy: str, **further: Any) -> Learner:
        alignment = {"alignment": None, "head": None, "penalties": {"angle": 0.0, "logits": 0.0}}
        training = {"epochs": 2, "batch_size": 8, "lr": 0.05, "ranks": POLICIES[policy], **alignment, **further}
        options = {"rank": 4} if "rank" in methods.load_class(name).__dataclass_fields__ else {}
        return Learner(tiny_backbone(), name, training=training, **{**SMALLER.get(name, {}), **options})

    return learner


def _logits(learner: Learner, pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return learner.model(pictures)


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_it_tells_what_it_kept_and_saved_merged_and_taught_on_it_answers_alike(
    name: str,
    policy: str,
    make: Make,
    synthetic_stream: Callable[..., Stream],
    pictures: Tensor,
    tmp_path: Path,
) -> None:
    learner, stream = make(name, policy), synthetic_stream(images=6)
    figures = [learner.learn(stream[index]).figures for index in range(2)]
    kept = list(figures[0]["kept_ranks"].values())
    assert len(kept) == len(learner.model.adapters)
    assert 1 <= min(kept) < 4
    assert max(kept) <= 4
    for adapter in learner.model.adapters:
        assert not adapter.live
        assert adapter.rank_gate is None
        for up, down in adapter.factors():
            assert up.shape[1] <= 4
            assert up.shape[1] == 1 or (up.any(dim=0) & down.any(dim=1)).all()
    before = _logits(learner, pictures)
    with learner.model.merged():
        torch.testing.assert_close(_logits(learner, pictures), before, atol=1e-4, rtol=1e-4)
    loaded = Learner.load(learner.save(tmp_path / "model"), backbone=make(name, policy).model.backbone)
    assert torch.equal(_logits(loaded, pictures), before)
    for one in (learner, loaded):
        one.learn(stream[2])
    assert torch.equal(_logits(loaded, pictures), _logits(learner, pictures))


@pytest.mark.parametrize(("name", "policy"), REFUSED)
def test_a_method_that_cannot_have_its_ranks_chosen_is_refused(name: str, policy: str, make: Make) -> None:
    with pytest.raises(RecipeError, match=rf"(?s)training\.ranks\.policy.*{name}"):
        make(name, policy)
