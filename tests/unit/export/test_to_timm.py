"""timm loads the merged weights strictly, by tag or from the folder, and gives lorastream's logits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from lorastream import Learner
from lorastream.backbones.backbone import Backbone
from lorastream.errors import BackboneError, MethodError
from lorastream.export import export_model
from lorastream.export.equality import seeded_images

Teach = Callable[..., Learner]


def _expected(learner: Learner) -> tuple[torch.Tensor, torch.Tensor]:
    images = seeded_images(learner).images
    with torch.no_grad():
        return images, learner.model(images)


def test_timm_loads_it_by_tag_strictly(small: Learner, tmp_path: Path) -> None:
    made = export_model(small, "timm", tmp_path / "out")
    images, expected = _expected(small)
    network = timm.create_model(
        "test_vit.r160_in1k", num_classes=3, img_size=32, checkpoint_path=str(tmp_path / "out/model.safetensors")
    ).eval()
    with torch.no_grad():
        assert torch.allclose(network(images), expected, atol=1e-5)
    assert 0 <= made.largest_difference < 1e-5
    assert {name for name, _ in made.files} == {
        *("classes.json", "config.json", "lorastream.json", "model.safetensors", "preprocessing.json"),
    }


def test_the_folder_alone_says_it_all(small: Learner, tmp_path: Path) -> None:
    export_model(small, "timm", tmp_path / "out")
    images, expected = _expected(small)
    network = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.allclose(network(images), expected, atol=1e-5)
    assert network.pretrained_cfg["label_names"] == ["cat", "dög", "a b"]
    assert json.loads((tmp_path / "out/classes.json").read_text("utf-8")) == ["cat", "dög", "a b"]
    config = timm.data.resolve_model_data_config(network)
    assert (list(config["input_size"]), list(config["mean"])) == ([3, 32, 32], [0.5, 0.5, 0.5])


def test_the_printed_lines_load_it(teach: Teach, tmp_path: Path, run_lines: Callable[..., dict[str, Any]]) -> None:
    learner = teach("glyph_vit")
    made = export_model(learner, "timm", tmp_path / "out")
    assert len(made.lines) <= 5
    logits = run_lines(made.lines)["logits"].detach()
    (prediction,) = learner.predict([tmp_path / "picture.jpg"], top=3)
    assert learner.class_names[int(logits.argmax())] == prediction.name


def test_a_distilled_network_has_the_head_twice(teach: Teach, tmp_path: Path) -> None:
    backbone = "deit_tiny_distilled_patch16_224.fb_in1k"
    from lorastream.backbones.load import load

    learner = teach(load(backbone, pretrained=False, image_size=32))
    assert export_model(learner, "timm", tmp_path / "out").largest_difference < 1e-5


def test_a_trained_backbone_goes_along(teach: Teach, weights: Path, tmp_path: Path) -> None:
    learner = teach("test_vit.r160_in1k", weights=weights, image_size=32, method="finetune")
    learner.model.backbone.trained = True
    with torch.no_grad():
        for parameter in learner.model.backbone.parameters():
            parameter.mul_(1.1)
    assert export_model(learner, "timm", tmp_path / "out").largest_difference < 1e-5


def test_cosine_prototypes_are_refused_by_name(teach: Teach, tmp_path: Path) -> None:
    learner = teach("glyph_vit", method="prototypes")
    with pytest.raises(MethodError, match=r"(?s)export to timm, method prototypes.*not linear in.*onnx or torch"):
        export_model(learner, "timm", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_network_without_a_name_is_refused(
    teach: Teach, tiny_backbone: Callable[[], Backbone], tmp_path: Path
) -> None:
    with pytest.raises(BackboneError, match=r"(?s)export to timm, backbone tiny.*onnx or torch"):
        export_model(teach(tiny_backbone()), "timm", tmp_path / "out")


def test_an_encoder_of_transformers_is_sent_to_hf(teach: Teach, encoder: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"(?s)a network of timm.*export to hf"):
        export_model(teach(encoder()), "timm", tmp_path / "out")
