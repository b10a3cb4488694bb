"""torch loads the program alone and runs it at any batch; any backbone, any head."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import timm
import torch

from lorastream import Learner
from lorastream.backbones.backbone import Backbone
from lorastream.export import export_model
from lorastream.export.equality import seeded_images
from lorastream.heads import CosineHead, DiscriminantHead, RidgeHead
from lorastream.heads.calibration import Calibration, Score, Threshold

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


@pytest.mark.parametrize("kind", [CosineHead, DiscriminantHead, RidgeHead])
def test_every_kind_of_head(
    kind: type[CosineHead | DiscriminantHead | RidgeHead],
    teach: Teach,
    tiny_backbone: Callable[[], Backbone],
    tmp_path: Path,
) -> None:
    learner = teach(tiny_backbone())
    head = learner.model.head = kind(learner.model.backbone.width)
    generator = torch.Generator().manual_seed(0)
    for n_classes in (2, 1):
        head.grow(n_classes, generator=generator, device=torch.device("cpu"))
    if isinstance(head, RidgeHead):
        head.project(16, generator=generator)
        head.take_in(0, [torch.randn(6, head.width, generator=generator) + 2 * k for k in range(3)])
    made = export_model(learner, "torch", tmp_path / "out")
    assert made.largest_difference < 1e-5
    images = seeded_images(learner, 3).images
    with torch.no_grad():
        logits = torch.export.load(tmp_path / "out/model.pt2").module()(images)
        assert torch.allclose(logits, learner.model(images), atol=1e-5)
    assert logits.std(dim=1).min() > 1e-3, "the classes are told apart, so there is something to compare"


def test_probabilities_are_those_of_predict(
    teach: Teach, tiny_backbone: Callable[[], Backbone], tmp_path: Path
) -> None:
    learner = teach(tiny_backbone())
    thresholds: dict[Score, Threshold] = {"energy": Threshold(value=-1.5)}
    learner.model.calibration = Calibration(temperature=0.25, thresholds=thresholds)
    grey = PIL.Image.new("RGB", (20, 20), (90, 120, 200))  # of one colour: resizing leaves it as it is in any library
    (told,) = learner.predict(grey, unknown="energy")
    made = export_model(learner, "torch", tmp_path / "out")
    assert made.notes[-1] == "probabilities are softmax(logits / 0.25), as calibration.json has it"
    inside = {"calibration.json": ""}
    program = torch.export.load(tmp_path / "out/model.pt2", extra_files=inside).module()
    known = json.loads(inside["calibration.json"])
    assert known == json.loads((tmp_path / "out/calibration.json").read_text("utf-8"))
    prepare: Any = timm.data.create_transform(**json.loads((tmp_path / "out/preprocessing.json").read_text("utf-8")))
    with torch.no_grad():
        logits = program(prepare(grey)[None])
    assert (logits / known["temperature"]).softmax(dim=1).max().item() == pytest.approx(told.probability, abs=1e-5)
    assert told.is_unknown == bool(-logits.logsumexp(dim=1) > known["unknown_energy"])
    assert told.strangeness == pytest.approx(-logits.logsumexp(dim=1).item(), abs=1e-5)


def test_an_encoder_of_transformers(teach: Teach, encoder: Callable[..., str], tmp_path: Path) -> None:
    assert export_model(teach(encoder("CLIPVision")), "torch", tmp_path / "out").largest_difference < 1e-5
