"""Small things that most tests need: a tiny random backbone, synthetic tasks, a cache that is thrown away."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("ACCELERATE_USE_CPU", "true")

import pytest
import torch
from hypothesis import settings
from timm.models.vision_transformer import VisionTransformer

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.projections import find_projections
from lorastream.data.sources import load
from lorastream.data.stream import Stream, StreamConfig
from lorastream.data.transforms import InputSpec, TransformConfig, build_transforms

SIZE = 16

settings.register_profile("lorastream", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("lorastream")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the cache of whoever runs it."""
    monkeypatch.setenv("LORASTREAM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny products are fastest, and the same everywhere, on one thread."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny_backbone() -> Callable[[], Backbone]:
    """Make a backbone of two blocks, width 32, the same random weights every time."""

    def make() -> Backbone:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            network = VisionTransformer(
                img_size=SIZE, patch_size=8, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, num_classes=0
            )
        spec = InputSpec(image_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, resize_ratio=1.0)
        return Backbone(
            network,
            spec=spec,
            width=32,
            projections=find_projections(network),
            name="tiny",
            pretrained=False,
        )

    return make


@pytest.fixture
def synthetic_stream(tmp_path: Path) -> Callable[..., Stream]:
    """Make a stream of synthetic classes for the tiny backbone."""

    def make(*, tasks: int = 3, classes_per_task: int = 2, images: int = 12, seed: int = 0) -> Stream:
        spec = InputSpec(image_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, resize_ratio=1.0)
        dataset = load("synthetic", n_classes=tasks * classes_per_task, images_per_class=images, size=SIZE)
        return Stream.of(
            dataset,
            config=StreamConfig(tasks=tasks, order="natural"),
            seed=seed,
            transforms=build_transforms(spec, TransformConfig(train="gentle")),
            cache=tmp_path / "cache",
        )

    return make
