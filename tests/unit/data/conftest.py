"""What the tests of the data floor share: a cache of their own, and images of any sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from lorastream.data.images import Images, fingerprint_of
from lorastream.data.transforms import InputSpec

SPEC = InputSpec(image_size=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5), resize_ratio=1.25)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep decoded images of a test to itself."""
    monkeypatch.setenv("LORASTREAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def spec() -> InputSpec:
    """Return the input of a small backbone."""
    return SPEC


@pytest.fixture
def random_images() -> Callable[..., Images]:
    """Return a maker of images of noise, of the (height, width) given."""

    def make(sizes: Sequence[tuple[int, int]], labels: Sequence[int] | None = None, seed: int = 0) -> Images:
        generator = np.random.default_rng(seed)
        arrays = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
        return Images(
            labels=np.array(labels if labels is not None else [0] * len(sizes), dtype=np.int64),
            read=lambda i: PIL.Image.fromarray(arrays[i]),
            names=[f"noise[{i}]" for i in range(len(sizes))],
            fingerprint=fingerprint_of("noise", *arrays),
        )

    return make
