"""Shards are refused where they could not work, and alone nothing is cut; groups are in tests/laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor

from lorastream.backbones.backbone import Backbone
from lorastream.errors import RecipeError
from lorastream.learner import Learner


@pytest.mark.parametrize(
    ("method", "more", "got"),
    [("finetune", {}, "finetune, which trains the backbone's own weights"), ("sd_lora", {"compile": True}, "compile")],
)
def test_what_cannot_be_in_parts_is_refused(
    tiny_backbone: Callable[[], Backbone], method: str, more: dict[str, Any], got: str
) -> None:
    with pytest.raises(RecipeError, match=rf"(?s)training\.shard_backbone.*{got}"):
        Learner(tiny_backbone(), method, training={"shard_backbone": True, **more})


def test_alone_the_backbone_stays_whole(tiny_backbone: Callable[[], Backbone]) -> None:
    model = Learner(tiny_backbone(), "sd_lora", training={"shard_backbone": True}).model
    assert not model.backbone.sharded
    assert not any(isinstance(p, DTensor) for p in model.parameters())
    assert model.adapted == ()
    model.keep_company(3)
    assert torch.isfinite(next(model.backbone.parameters())).all()
