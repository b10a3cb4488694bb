"""Runs the command line's own entry in this process: what a user types goes in, exit code and both streams come out."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from lorastream.backbones.backbone import Backbone
from lorastream.cli.main import main
from lorastream.reports.page.live import LivePage

COLUMNS = 80
TINY = (
    *("digits", "data.source=synthetic", "data.n_classes=4", "data.images_per_class=6", "data.size=16"),
    *("data.test_images_per_class=4", "stream.tasks=2", "training.epochs=1", "training.batch_size=4"),
)
"""A recipe that runs in a blink on the tiny backbone: two tasks of two classes, three steps each."""


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test sits in a folder of its own, at a file as wide as a terminal usually is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "RANK", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def lorastream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command as if it were typed."""

    def command(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["lorastream", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        streams = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), streams.out, streams.err)

    return command


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tiny_backbone: Callable[[], Backbone]) -> tuple[str, ...]:
    """Let every recipe have the tiny backbone, and return the arguments of one that is over in a blink."""
    monkeypatch.setattr("lorastream.recipes.build.backbone", lambda _recipe: tiny_backbone())
    monkeypatch.setattr(LivePage, "__call__", lambda *_: None)  # a second of drawing for each run; see test_pages
    return TINY


@pytest.fixture
def draw() -> Callable[..., None]:
    """Put pictures into a folder of classes, made where it is missing."""

    def make(root: Path | str, *classes: str, images: int = 5, suffix: str = "png") -> None:
        for shade, name in enumerate(classes):
            folder = Path(root, name)
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(images):
                pixels = np.full((20, 18 + i, 3), 40 * shade + 9 * i, dtype=np.uint8)
                PIL.Image.fromarray(pixels).save(folder / f"{i}.{suffix}")

    return make


@pytest.fixture
def files() -> Callable[[], dict[str, Any]]:
    """Tell every file below the desk, with its content and the time it was last changed."""

    def look() -> dict[str, Any]:
        found = sorted(path for path in Path().rglob("*") if path.is_file())
        return {str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in found}

    return look
