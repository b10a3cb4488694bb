"""A Hugging Face encoder is loaded from a local folder without the network, and answers with its class token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lorastream.backbones.load import load
from lorastream.errors import BackboneError, MissingExtraError

IMAGES = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)


@pytest.fixture(scope="module")
def encoder() -> nn.Module:
    from transformers import ViTConfig, ViTModel

    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return ViTModel(ViTConfig(**sizes, intermediate_size=32, patch_size=4)).eval()


@pytest.fixture
def folder(encoder: Any, tmp_path: Path) -> Path:
    encoder.save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def test_a_local_folder_gives_the_class_token_of_the_encoder(encoder: nn.Module, folder: Path) -> None:
    backbone = load(f"hf:{folder}")
    with torch.no_grad():
        assert torch.equal(backbone(IMAGES), encoder(pixel_values=IMAGES).last_hidden_state[:, 0])
    assert (backbone.width, backbone.spec.image_size) == (16, 8)
    assert (backbone.spec.mean, backbone.spec.std) == ((0.5,) * 3, (0.5,) * 3)
    assert backbone.identity.name == f"hf:{folder}"
    assert len(backbone.find(["query", "value"])) == 2
    assert not any(p.requires_grad for p in backbone.parameters())


def test_the_normalisation_is_that_of_its_image_processor(folder: Path) -> None:
    processor = {"image_processor_type": "ViTImageProcessor", "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    spec = load(f"hf:{folder}").spec
    assert (spec.mean, spec.std) == ((0.1, 0.2, 0.3), (0.4, 0.4, 0.4))


def test_weights_from_a_file(encoder: nn.Module, folder: Path, saved: Callable[..., Path]) -> None:
    doubled = {name: 2 * tensor for name, tensor in encoder.state_dict().items()}
    backbone = load(f"hf:{folder}", weights=saved(doubled))
    state = {name.removeprefix("encoder."): tensor for name, tensor in backbone.network.state_dict().items()}
    assert all(torch.equal(state[name], tensor) for name, tensor in doubled.items())
    doubled.popitem()
    with pytest.raises(BackboneError, match="1 missing"):
        load(f"hf:{folder}", weights=saved(doubled))


def test_random_weights_on_demand(encoder: nn.Module, folder: Path) -> None:
    backbone = load(f"hf:{folder}", pretrained=False)
    assert not backbone.identity.pretrained
    with torch.no_grad():
        assert not torch.allclose(backbone(IMAGES), encoder(pixel_values=IMAGES).last_hidden_state[:, 0])


def test_its_own_size_only(folder: Path) -> None:
    assert load(f"hf:{folder}", image_size=8).spec.image_size == 8
    with pytest.raises(BackboneError, match=r"(?s)backbone\.image_size.*expected: 8.*got: +16"):
        load(f"hf:{folder}", image_size=16)


@pytest.mark.parametrize("content", [None, "{}", '{"model_type": "bert"}', "no json"])
def test_what_is_no_vision_encoder_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(BackboneError, match="the name or the folder of a Hugging Face vision encoder"):
        load(f"hf:{tmp_path}")


def test_without_the_extra_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"lorastream\[hf\]"):
        load(f"hf:{folder}")
