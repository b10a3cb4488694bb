"""An export stands only if it agrees; what stood there before stays until then; the learner is never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from lorastream import Learner
from lorastream.errors import CheckpointError, DataError, MethodError, RunError, UserError
from lorastream.export import export_model
from lorastream.export.equality import largest_difference, pictures, seeded_images


def _hashes(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_learner_stays_as_it_was(small: Learner, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in small.model.state_dict().items()}
    export_model(small, "timm", tmp_path / "out")
    after = small.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not small.model.adapters.merged


def test_what_passed_is_written_down(small: Learner, tmp_path: Path) -> None:
    made = export_model(small, "timm", tmp_path / "out")
    facts = json.loads((tmp_path / "out/lorastream.json").read_text("utf-8"))
    assert facts["largest_difference"] == made.largest_difference
    assert (facts["target"], facts["method"], facts["compared_on"]) == ("timm", "sd_lora", "8 seeded images")
    assert facts["backbone"]["name"] == "test_vit.r160_in1k"
    assert made.n_bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())


def test_a_newer_export_takes_the_place_of_an_older(small: Learner, tmp_path: Path) -> None:
    export_model(small, "timm", tmp_path / "out")
    before = _hashes(tmp_path / "out")
    small.model.head.weights[0].data.add_(1.0)
    export_model(small, "timm", tmp_path / "out")
    after = _hashes(tmp_path / "out")
    assert [name for name in after if after[name] != before[name]][-1].endswith("model.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "weights.safetensors"]


def test_logits_that_differ_fail_and_leave_all_as_it_was(
    small: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_model(small, "timm", tmp_path / "out")
    before = _hashes(tmp_path)
    monkeypatch.setattr(
        "lorastream.export.merged.Merged.reference",
        lambda _self, images: torch.zeros(len(images), 3),
    )
    with pytest.raises(RunError, match=r"(?s)export to timm.*at most 1\.0e-04.*nothing on disk was changed"):
        export_model(small, "timm", tmp_path / "out")
    assert _hashes(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "weights.safetensors"]


def test_other_peoples_files_are_never_replaced(small: Learner, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    (tmp_path / "file").write_text("y")
    before = _hashes(tmp_path)
    for place in ("mine", "file"):
        with pytest.raises(CheckpointError, match="an earlier export, which is replaced"):
            export_model(small, "timm", tmp_path / place)
    assert _hashes(tmp_path) == before
    (tmp_path / "empty").mkdir()
    assert export_model(small, "timm", tmp_path / "empty").files


def test_real_pictures_are_what_it_compares_on(small: Learner, tmp_path: Path) -> None:
    for i in range(70):
        shades = np.full((20 + i, 30, 3), 3 * i, dtype=np.uint8)
        (tmp_path / "pictures" / str(i % 3)).mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(shades).save(tmp_path / "pictures" / str(i % 3) / f"{i}.png")
    found = pictures(small, tmp_path / "pictures")
    assert found.described == f"35 of 70 pictures of {tmp_path / 'pictures'}"
    assert found.images.shape == (35, 3, 32, 32)
    made = export_model(small, "timm", tmp_path / "out", pictures=tmp_path / "pictures")
    assert made.compared == found.described
    for missing, got in (("none", "no such folder"), ("out", "no picture in it")):
        with pytest.raises(DataError, match=got):
            export_model(small, "timm", tmp_path / "elsewhere", pictures=tmp_path / missing)


def test_the_largest_difference_is_of_every_batch_and_of_one_image_alone() -> None:
    images = torch.arange(40.0).view(40, 1)
    seen: list[int] = []

    def other(batch: torch.Tensor) -> torch.Tensor:
        seen.append(len(batch))
        return batch + 0.25 * (batch == 39)

    assert largest_difference(lambda batch: batch, other, images) == 0.25
    assert seen == [1, 16, 16, 8]
    assert largest_difference(lambda batch: batch, lambda batch: batch * torch.nan, images) == torch.inf
    assert largest_difference(lambda batch: batch, lambda batch: batch[:, :0], images) == torch.inf


def test_seeded_images_span_the_range_of_the_input(small: Learner) -> None:
    images = seeded_images(small).images
    assert images.shape == (8, 3, 32, 32)
    assert (images.min().item(), images.max().item()) == (-1.0, 1.0)
    assert torch.equal(images, seeded_images(small).images)


def test_an_unknown_target_is_refused_with_the_nearest(small: Learner, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'onnx'"):
        export_model(small, "onx", tmp_path / "out")


def test_a_learner_that_knows_nothing_has_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a model that knows classes"):
        export_model(Learner("glyph_vit"), "timm", tmp_path / "out")


def test_a_method_with_its_own_answers_is_refused(
    small: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(small.method), "predict", lambda *_: None, raising=False)
    with pytest.raises(MethodError, match=r"(?s)answers are those of one network.*Learner\.load"):
        export_model(small, "onnx", tmp_path / "out")


def test_a_method_of_two_passes_is_refused(teach: Callable[..., Learner], tmp_path: Path) -> None:
    with pytest.raises(MethodError, match=r"(?s)export, method aper.*one network.*one of 2 passes.*Learner\.load"):
        export_model(teach("glyph_vit", method="aper"), "timm", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names(teach: Callable[..., Learner], tmp_path: Path) -> None:
    """Class names in any script, and one class only."""
    learner = teach("glyph_vit", tasks=[['猫 / "кот"']])
    export_model(learner, "timm", tmp_path / "out")
    assert json.loads((tmp_path / "out/classes.json").read_text("utf-8")) == ['猫 / "кот"']
