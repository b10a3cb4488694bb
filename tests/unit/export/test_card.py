"""The card says what the model knows, how well, under which licence and how to load it, whatever the names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lorastream import Learner
from lorastream.export.card import card, hub_lines, licence_of, lineage
from lorastream.export.exporter import Exported
from lorastream.export.merged import merge
from lorastream.export.write import exporter_of
from lorastream.training.manifest import Step


def _exported(learner: Learner, target: str) -> Exported:
    """Return what an export would tell, without making one."""
    return Exported(
        target=target,
        folder=Path("out"),
        files=(("model", 10),),
        largest_difference=4.2e-7,
        tolerance=1e-4,
        compared="8 seeded images",
        notes=("rank 8 on 6 layers",),
        loading=tuple(exporter_of(target).lines(merge(learner))),
    )


def _step(number: int, after: int | None, *, is_current: bool = False, kind: str = "learn", **more: Any) -> Step:
    table = {"number": number, "kind": kind, "date": "2026-11-21T08:00:00Z", "images": 40, **more}
    table |= {} if after is None else {"after": after}
    return Step(number=number, manifest={"step": table}, is_current=is_current, path=Path("x"))


def test_the_whole_card(small: Learner) -> None:
    steps = [
        _step(1, None, classes=["cat", "dög"], accuracy_new=0.875),
        _step(2, 1, classes=["x|y"], accuracy_new=1.0, accuracy_old=0.8125, is_current=True),
    ]
    text = card(_exported(small, "onnx"), small, "me/pets", steps)
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "license": "apache-2.0",
        "library_name": "onnx",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "class-incremental-learning", "lorastream"],
        "base_model": "timm/test_vit.r160_in1k",
    }
    assert "# pets\n" in body
    assert "taught 3 classes in 2 tasks" in body
    assert "the logits differ by at most 4.2e-07 on 8 seeded images. Rank 8 on 6 layers." in body
    assert "| 1 | 2026-11-21 | cat, dög | 40 | 87.5 | – |\n| 2 | 2026-11-21 | x\\|y | 40 | 100.0 | 81.2 |" in body  # noqa: RUF001
    code = re.search(r"```python\n(.*?)\n```", body, re.DOTALL)
    assert code is not None
    assert 'snapshot_download("me/pets")' in code[1]
    assert 'InferenceSession(folder + "/model.onnx")' in code[1]
    compile(code[1], "card", "exec")


def test_without_a_past_it_says_that_nothing_was_recorded(
    teach: Callable[..., Learner], encoder: Callable[..., str]
) -> None:
    learner = teach(encoder())
    text = card(_exported(learner, "hf"), learner, "me/x")
    assert "None was recorded with the model." in text
    assert yaml.safe_load(text.split("---\n")[1]).keys().isdisjoint({"license", "base_model"})
    assert "is not known to lorastream" in text


def test_only_the_steps_that_led_here_are_told() -> None:
    """Step 3 was learnt and undone: 4 was made from 2. A renaming is no learning."""
    steps = [_step(1, None), _step(2, 1, kind="rename"), _step(3, 2), _step(4, 2, is_current=True)]
    assert [step.number for step in lineage(steps)] == [1, 4]
    assert lineage([]) == []


def test_the_licence_is_that_of_the_weights() -> None:
    assert licence_of("glyph_vit") == "apache-2.0"
    assert licence_of("vit_base_patch16_clip_224.openai") == "apache-2.0"
    assert licence_of("vit_base_patch14_dinov2.lvd142m") == "apache-2.0"
    assert licence_of("convnext_tiny.fb_in22k") == "apache-2.0"
    assert licence_of("vit_base_patch16_224.mae") == "cc-by-nc-4.0"
    assert licence_of("hf:me/x") is None
    assert licence_of("tiny") is None


def test_lines_from_the_hub(small: Learner) -> None:
    for target in ("timm", "peft", "torch"):
        lines = hub_lines(_exported(small, target), "me/pets")
        assert len(lines) <= 5
        assert "FOLDER" not in "".join(lines)
        compile("\n".join(lines), target, "exec")
