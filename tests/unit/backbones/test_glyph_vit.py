"""The bundled backbone is in the package, small, and sees 32 px."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from lorastream.backbones.load import load
from lorastream.errors import BackboneError

FILE = Path(str(files("lorastream.backbones"))) / "glyph_vit.safetensors"


def test_it_is_in_half_precision_and_at_most_8_mb() -> None:
    assert FILE.stat().st_size <= 8_000_000
    assert {tensor.dtype for tensor in load_file(FILE).values()} == {torch.float16}


def test_it_says_how_it_was_made() -> None:
    with safe_open(FILE, framework="pt") as stored:
        facts = stored.metadata()
    assert {"architecture", "mean", "std", "made_by"} <= facts.keys()


def test_it_gives_features_of_the_width_that_it_states() -> None:
    backbone = load("glyph_vit")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = backbone(images)
    assert features.shape == (2, backbone.width)
    assert features.isfinite().all()
    assert not torch.allclose(features[0], features[1])
    assert (backbone.spec.image_size, backbone.spec.resize_ratio) == (32, 1.0)
    assert set(backbone.projections) == {"query", "key", "value", "attention_output", "mlp_in", "mlp_out"}
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}


def test_it_is_the_same_every_time_and_another_without_its_weights() -> None:
    identity = load("glyph_vit").identity
    assert load("glyph_vit").identity == identity
    assert (identity.name, identity.weights, identity.pretrained) == ("glyph_vit", None, True)
    random = load("glyph_vit", pretrained=False).identity
    assert random.sha256 != identity.sha256
    assert not random.pretrained


def test_another_image_size_is_refused() -> None:
    assert load("glyph_vit", image_size=32).spec.image_size == 32
    with pytest.raises(BackboneError, match=r"(?s)expected: 32 for glyph_vit.*got: +64"):
        load("glyph_vit", image_size=64)


def test_other_weights_of_the_same_architecture(saved: Callable[..., Path]) -> None:
    state = {name: tensor.float() * 2 for name, tensor in load_file(FILE).items()}
    backbone = load("glyph_vit", weights=saved(state))
    assert all(torch.equal(backbone.network.state_dict()[name], tensor) for name, tensor in state.items())
    state.pop("norm.weight")
    with pytest.raises(BackboneError, match=r"norm\.weight"):
        load("glyph_vit", weights=saved(state))


def test_a_weights_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"(?s)backbone\.weights.*no file at .*nowhere"):
        load("glyph_vit", weights=tmp_path / "nowhere.safetensors")
