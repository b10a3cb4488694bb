"""transformers loads the folder as an image classifier with its class names, and gives lorastream's logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from lorastream import Learner
from lorastream.errors import BackboneError, MissingExtraError
from lorastream.export import export_model
from lorastream.export.equality import seeded_images
from lorastream.export.to_hf import image_processor

Teach = Callable[..., Learner]


def _loaded(folder: Path) -> Any:
    return AutoModelForImageClassification.from_pretrained(folder).eval()


def _agrees(learner: Learner, network: Any) -> bool:
    images = seeded_images(learner).images
    with torch.no_grad():
        return torch.allclose(network(pixel_values=images).logits, learner.model(images), atol=1e-5)


def test_a_network_of_timm_is_loaded_by_transformers_and_by_timm(small: Learner, tmp_path: Path) -> None:
    made = export_model(small, "hf", tmp_path / "out")
    network = _loaded(tmp_path / "out")
    assert type(network).__name__ == "TimmWrapperForImageClassification"
    assert network.config.id2label == {0: "cat", 1: "dög", 2: "a b"}
    assert _agrees(small, network)
    assert made.largest_difference < 1e-5
    assert timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).num_classes == 3


@pytest.mark.parametrize(("kind", "more"), [("ViT", {}), ("DeiT", {}), ("Dinov2", {})])
def test_an_encoder_gets_its_own_classifier(
    kind: str, more: dict[str, Any], teach: Teach, encoder: Callable[..., str], tmp_path: Path
) -> None:
    learner = teach(encoder(kind, **more))
    made = export_model(learner, "hf", tmp_path / "out")
    network = _loaded(tmp_path / "out")
    assert type(network).__name__ == f"{kind}ForImageClassification"
    assert network.config.label2id == {"cat": 0, "dög": 1, "a b": 2}
    assert _agrees(learner, network)
    assert made.largest_difference < 1e-5


@pytest.mark.parametrize(
    ("kind", "got"),
    [
        ("Beit", "BeitForImageClassification, which makes its features in another way"),
        ("CLIPVision", "CLIPVisionConfig"),
    ],
)
def test_a_classifier_on_other_features_is_refused(
    kind: str, got: str, teach: Teach, encoder: Callable[..., str], tmp_path: Path
) -> None:
    """BEiT's averages the patches; lorastream's head was taught on the class token. CLIP's tower alone has none."""
    learner = teach(encoder(kind))
    with pytest.raises(BackboneError, match=rf"(?s)export.*backbone hf:.*{got}.*onnx or torch"):
        export_model(learner, "hf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_printed_lines_load_it(small: Learner, tmp_path: Path, run_lines: Callable[..., Any], capsys: Any) -> None:
    made = export_model(small, "hf", tmp_path / "out")
    run_lines(made.lines)
    assert "'label': 'dög'" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["center", "squash"])
def test_its_image_processor_prepares_as_timm_does(mode: str, tmp_path: Path) -> None:
    import json

    import PIL.Image

    known = {"input_size": [3, 24, 24], "interpolation": "bicubic", "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    known |= {"crop_pct": 0.75 if mode == "center" else 1.0, "crop_mode": mode}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(image_processor(known)))
    shades = torch.linspace(0, 255, 60 * 80).view(60, 80).to(torch.uint8).numpy()
    picture = PIL.Image.fromarray(shades).convert("RGB")
    got = AutoImageProcessor.from_pretrained(tmp_path)(picture, return_tensors="pt")["pixel_values"]
    expected = timm.data.create_transform(**known)(picture)[None]
    assert got.shape == expected.shape
    assert (got - expected).abs().max() < 3 / 255 / 0.5


def test_without_transformers_the_line_that_installs_it_is_named(
    small: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorastream.export.write.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lorastream\[export\]'"):
        export_model(small, "hf", tmp_path / "out")
