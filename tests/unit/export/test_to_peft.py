"""peft loads one adapter, at the smallest rank, on the plain backbone, and gives lorastream's logits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from peft import PeftModel
from safetensors.torch import load_file

from lorastream import Learner
from lorastream.backbones.load import load
from lorastream.errors import BackboneError, MethodError
from lorastream.export import export_model
from lorastream.export.equality import seeded_images

Teach = Callable[..., Learner]


def _agrees(learner: Learner, network: Any) -> bool:
    images = seeded_images(learner).images
    with torch.no_grad():
        got = network(images)
        return torch.allclose(getattr(got, "logits", got), learner.model(images), atol=1e-5)


def test_one_adapter_holds_all_tasks_of_a_fused_qkv(small: Learner, weights: Path, tmp_path: Path) -> None:
    made = export_model(small, "peft", tmp_path / "out")
    base = timm.create_model(
        "test_vit.r160_in1k", pretrained=True, num_classes=3, img_size=32, pretrained_cfg_overlay={"file": str(weights)}
    )
    model = PeftModel.from_pretrained(base, tmp_path / "out").eval()
    assert _agrees(small, model)
    assert _agrees(small, model.merge_and_unload())
    config = json.loads((tmp_path / "out/adapter_config.json").read_text())
    assert config["r"] == 8  # two tasks of rank 2 on query and value
    assert sorted(config["target_modules"]) == [f"blocks.{i}.attn.qkv" for i in range(6)]
    assert config["modules_to_save"] == ["head"]
    assert made.notes == ("rank 8 on 6 layers; the updates of 2 tasks stack to 8",)


def test_directions_that_repeat_cost_no_rank(small: Learner, tmp_path: Path) -> None:
    """The second task's downs are the first's in one layer: half the rank there, and a rank of its own in the file."""
    adapter = small.model.adapters.layers["blocks.1.attn.qkv"].adapters
    for part in adapter.values():
        assert hasattr(part, "load")
        (up, down), (other, _) = part.factors()
        part.load(torch.cat([up, other], 1), torch.cat([down, down]), torch.tensor([1.0, 2, 3, 4]), [2, 2])
    made = export_model(small, "peft", tmp_path / "out")
    assert made.largest_difference < 1e-5
    assert made.notes == ("rank 4 to 8 on 6 layers; the updates of 2 tasks stack to 8",)
    tensors = load_file(tmp_path / "out/adapter_model.safetensors")
    assert tensors["base_model.model.blocks.1.attn.qkv.lora_A.weight"].shape == (4, 64)
    assert tensors["base_model.model.blocks.1.attn.qkv.lora_B.weight"].shape == (192, 4)


def test_folded_updates_are_factorised_too(small: Learner, tmp_path: Path) -> None:
    small.model.adapters.fold()
    made = export_model(small, "peft", tmp_path / "out")
    assert made.largest_difference < 1e-5
    assert made.notes == ("rank 8 on 6 layers",)


def test_the_printed_lines_load_it_on_the_bundled_backbone(
    teach: Teach, tmp_path: Path, run_lines: Callable[..., dict[str, Any]]
) -> None:
    learner = teach("glyph_vit")
    made = export_model(learner, "peft", tmp_path / "out")
    assert len(made.lines) <= 5
    assert _agrees(learner, run_lines(made.lines)["model"])


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks transformers so
def test_the_printed_lines_load_it_on_an_encoder_of_transformers(
    teach: Teach, encoder: Callable[..., str], tmp_path: Path, run_lines: Callable[..., dict[str, Any]]
) -> None:
    learner = teach(encoder())
    made = export_model(learner, "peft", tmp_path / "out")
    assert made.largest_difference < 1e-5
    assert _agrees(learner, run_lines(made.lines)["model"])


def test_what_is_no_update_beside_a_frozen_backbone_is_refused(teach: Teach, weights: Path, tmp_path: Path) -> None:
    trained = teach("test_vit.r160_in1k", weights=weights, image_size=32, method="finetune")
    trained.model.backbone.trained = True
    with pytest.raises(MethodError, match=r"(?s)export to peft, method finetune.*own weights were trained.*timm or hf"):
        export_model(trained, "peft", tmp_path / "out")
    with pytest.raises(MethodError, match=r"(?s)method prototypes.*not linear in the features"):
        export_model(teach("glyph_vit", method="prototypes"), "peft", tmp_path / "out")
    nothing = teach("glyph_vit", method="sequential_lora")
    with pytest.raises(MethodError, match=r"(?s)got: +no update"):
        export_model(nothing, "peft", tmp_path / "out")


def test_a_backbone_that_nobody_else_can_load_is_refused(teach: Teach, tmp_path: Path) -> None:
    learner = teach(load("test_vit.r160_in1k", pretrained=False, image_size=32))
    with pytest.raises(BackboneError, match=r"(?s)random weights.*timm or hf"):
        export_model(learner, "peft", tmp_path / "out")
