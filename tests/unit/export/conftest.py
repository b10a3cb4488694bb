"""Learners that know something without having been trained, on every kind of backbone; and lines run as printed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import PIL.Image
import pytest
import timm
import torch
from safetensors.torch import save_file

from lorastream import Learner
from lorastream.heads import PrototypeHead

TAG = "test_vit.r160_in1k"  # two blocks, width 64, which timm keeps for tests

Teach = Callable[..., Learner]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> NoReturn:
        raise AssertionError(f"the network was asked: {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


@pytest.fixture
def teach() -> Teach:
    """Give a learner classes, updates and head rows, all random, as if it had learnt some tasks."""

    def make(
        backbone: str, *, tasks: Sequence[Sequence[str]] = (("cat", "dög"), ("a b",)), method: str = "sd_lora", **o: Any
    ) -> Learner:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            learner = Learner(backbone, method, **o)
        generator = torch.Generator().manual_seed(5)
        for names in tasks:
            learner.model.grow(names)
            if method == "sd_lora":
                adapters = learner.model.adapt(("query", "value"))
                adapters.grow(2, generator=generator, up_std=0.1)
                adapters.freeze()
        if isinstance(learner.model.head, PrototypeHead):
            learner.model.head.set_prototypes(0, torch.randn(3, learner.model.backbone.width, generator=generator))
        return learner

    return make


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Write the weights of the small model, its classifier left out."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = timm.create_model(TAG, num_classes=0, img_size=32).state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture
def small(teach: Teach, weights: Path) -> Learner:
    """Teach the small model of timm at 32 px, its weights from a file."""
    return teach(TAG, weights=weights, image_size=32)


@pytest.fixture
def encoder(tmp_path: Path) -> Callable[..., str]:
    """Save a tiny encoder of transformers and return its name as a backbone."""

    def make(kind: str = "ViT", **more: Any) -> str:
        import transformers

        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8, "patch_size": 4}
        sizes |= {"intermediate_size": 32, **more}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**sizes))
        model.save_pretrained(tmp_path / kind)
        return f"hf:{tmp_path / kind}"

    return make


@pytest.fixture
def run_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[str]], dict[str, Any]]:
    """Run printed lines where a picture.jpg lies, and return the names they made."""

    def run(lines: Sequence[str]) -> dict[str, Any]:
        noise = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
        PIL.Image.fromarray(noise).save(tmp_path / "picture.jpg")
        monkeypatch.chdir(tmp_path)
        made: dict[str, Any] = {}
        exec("\n".join(lines), made)  # noqa: S102 (our own lines, as a reader would run them)
        return made

    return run
