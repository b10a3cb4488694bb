"""Models with prompts: one program of both passes where a format holds programs, a refusal where it holds networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lorastream import Learner
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.errors import MethodError
from lorastream.export import export_model

TRAINING = {"epochs": 1, "batch_size": 8, "lr": 0.05}
Make = Callable[[str], Learner]


@pytest.fixture
def make(tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream]) -> Make:
    def learner(method: str) -> Learner:
        made = Learner(tiny_backbone(), method, training=TRAINING)
        for task in synthetic_stream(tasks=2, images=4):
            made.learn(task)
        return made

    return learner


@pytest.mark.parametrize(("method", "target"), [("dual_prompt", "onnx"), ("l2p", "torch"), ("prompt_routing", "onnx")])
def test_a_program_takes_both_passes(make: Make, tmp_path: Path, method: str, target: str) -> None:
    assert export_model(make(method), target, tmp_path / "out").largest_difference < 1e-5


@pytest.mark.parametrize("target", ["timm", "hf", "peft"])
def test_a_network_of_another_library_cannot_hold_them(make: Make, tmp_path: Path, target: str) -> None:
    with pytest.raises(MethodError, match=rf"(?s)export to {target}, method l2p.*prompts.*onnx or torch"):
        export_model(make("l2p"), target, tmp_path / "out")
    assert not (tmp_path / "out").exists()
