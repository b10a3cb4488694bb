"""Folders of pictures as a user has them, and a learner on the tiny backbone to teach them to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from lorastream import Learner
from lorastream.backbones.backbone import Backbone

FAST: dict[str, Any] = {"epochs": 2, "batch_size": 4, "lr": 0.05}


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of class folders; every class is a pattern of its own, with a little noise."""

    def make(name: str, images: int | dict[str, int], *classes: str) -> Path:
        counts = images if isinstance(images, dict) else dict.fromkeys(classes, images)
        for label, n in counts.items():
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            own = np.random.default_rng(int.from_bytes(hashlib.sha256(label.encode()).digest()[:4]))
            pattern = own.integers(0, 255, (4, 4, 3)).repeat(5, axis=0).repeat(5, axis=1)
            for i in range(n):
                noise = np.random.default_rng(i).integers(-20, 20, pattern.shape)
                pixels = np.clip(pattern + noise, 0, 255).astype(np.uint8)
                PIL.Image.fromarray(pixels).save(folder / f"{i}.png")
        return tmp_path / name

    return make


@pytest.fixture
def make(tiny_backbone: Callable[[], Backbone]) -> Callable[..., Learner]:
    """Make a learner that learns in a blink."""

    def made(method: str = "sd_lora", **options: Any) -> Learner:
        return Learner.create(tiny_backbone(), method, **{"training": FAST, **options})

    return made


@pytest.fixture
def hashes() -> Callable[[Path], dict[str, str]]:
    """Tell every file below a folder, with the hash of its content."""

    def look(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    return look
