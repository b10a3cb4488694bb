"""onnxruntime runs the graph at any batch and gives lorastream's logits; class names and preprocessing are inside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from lorastream import Learner
from lorastream.backbones.backbone import Backbone
from lorastream.export import export_model
from lorastream.export.equality import seeded_images
from lorastream.heads import PrototypeHead

Teach = Callable[..., Learner]


def test_any_backbone_with_updates_and_any_head_at_any_batch(
    teach: Teach,
    tiny_backbone: Callable[[], Backbone],
    tmp_path: Path,
    run_lines: Callable[..., dict[str, Any]],
) -> None:
    learner = teach(tiny_backbone())
    head = learner.model.head = PrototypeHead(32)  # one graph for both: updates in the weights, and no linear head
    generator = torch.Generator().manual_seed(0)
    head.grow(3, generator=generator, device=torch.device("cpu"))
    head.set_prototypes(0, torch.randn(3, 32, generator=generator))
    made = export_model(learner, "onnx", tmp_path / "out")
    assert made.largest_difference < 1e-5
    session: Any = onnxruntime.InferenceSession(str(tmp_path / "out/model.onnx"), providers=["CPUExecutionProvider"])
    for n in (1, 5):
        images = seeded_images(learner, n).images
        with torch.no_grad():
            expected = learner.model(images)
        (got,) = session.run(["logits"], {"images": images.numpy()})
        assert torch.allclose(torch.from_numpy(got), expected, atol=1e-5)
    inside = session.get_modelmeta().custom_metadata_map
    assert json.loads(inside["classes"]) == ["cat", "dög", "a b"]
    assert json.loads(inside["preprocessing"])["input_size"] == [3, 16, 16]
    assert run_lines(made.lines)["logits"].shape == (1, 3)
