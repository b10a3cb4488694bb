"""torch loads the program alone and runs it at any batch; any backbone, any head."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lorastream import Learner
from lorastream.backbones.backbone import Backbone
from lorastream.export import export_model
from lorastream.export.equality import seeded_images

Teach = Callable[..., Learner]


@pytest.mark.parametrize("method", ["sd_lora", "prototypes"])
def test_any_backbone_and_any_head_at_any_batch(
    method: str,
    teach: Teach,
    tiny_backbone: Callable[[], Backbone],
    tmp_path: Path,
    run_lines: Callable[..., dict[str, Any]],
) -> None:
    learner = teach(tiny_backbone(), method=method)
    made = export_model(learner, "torch", tmp_path / "out")
    assert made.largest_difference < 1e-5
    inside = {"classes.json": "", "preprocessing.json": ""}
    program = torch.export.load(tmp_path / "out/model.pt2", extra_files=inside).module()
    for n in (1, 5):
        images = seeded_images(learner, n).images
        with torch.no_grad():
            assert torch.allclose(program(images), learner.model(images), atol=1e-5)
    assert json.loads(inside["classes.json"]) == ["cat", "dög", "a b"]
    assert run_lines(made.lines)["logits"].shape == (1, 3)


def test_an_encoder_of_transformers(teach: Teach, encoder: Callable[..., str], tmp_path: Path) -> None:
    assert export_model(teach(encoder("CLIPVision")), "torch", tmp_path / "out").largest_difference < 1e-5
