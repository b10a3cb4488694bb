"""Tiny finished runs to analyse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lorastream import experiment
from lorastream.analyses.finished import FinishedRun
from lorastream.backbones.backbone import Backbone
from lorastream.recipes.load import load

TINY = (
    *("data.source=synthetic", "data.n_classes=6", "data.images_per_class=6", "data.size=16", "stream.tasks=3"),
    *("data.test_images_per_class=4", "training.epochs=2", "training.batch_size=4", "training.lr=0.1"),
)
"""Three tasks of two classes, six steps each."""


@pytest.fixture
def finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_backbone: Callable[[], Backbone]
) -> Callable[..., FinishedRun]:
    """Run a recipe on the tiny backbone and open what it left."""
    monkeypatch.setattr("lorastream.recipes.build.backbone", lambda _recipe: tiny_backbone())

    def make(method: str, *overrides: str) -> FinishedRun:
        recipe = load("digits", [*TINY, *overrides], method=method)
        _, folder = experiment.run(recipe, tmp_path / method)
        return FinishedRun(folder)

    return make
