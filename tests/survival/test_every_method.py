"""A run that is stopped between any two file operations ends, gone on with, with the same bytes; for every method.

One run is watched: before each operation that changes the disk its folder is copied, as a kill at that instant would
leave it. What is gone on with depends on the newest state that is whole, on the record and on the model's manifest; of
the copies that agree in these, which differ in unfinished and outdated files alone, one is gone on with.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream import files, methods
from lorastream.backbones.backbone import Backbone
from lorastream.data.sources import load as load_source
from lorastream.experiment import run
from lorastream.recipes import load as recipes
from lorastream.training.events import Event, TaskStarted

Disk = dict[str, bytes]
OPERATIONS = ("replace", "rename", "unlink", "mkdir", "rmdir", "chmod")
THOROUGHLY = ("sd_lora", "finetune", "inf_lora_ca")
"""Methods that are taken through a second epoch too."""
STATE = re.compile(r"resume/\d{6}-(task|progress)\.safetensors")


class Watched:
    """The disk below a folder at every instant at which a kill could leave it otherwise than before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[Disk] = []

    def look(self) -> None:
        found = {str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}
        if not self.seen or found != self.seen[-1]:
            self.seen.append(found)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fill = files._fill

        def half_and_whole(descriptor: int, content: bytes) -> None:
            os.write(descriptor, content[: len(content) // 2])
            self.look()
            os.lseek(descriptor, 0, os.SEEK_SET)
            fill(descriptor, content)

        monkeypatch.setattr(files, "_fill", half_and_whole)
        for name in OPERATIONS:
            monkeypatch.setattr(Path, name, self._looking(getattr(Path, name)))
        monkeypatch.setattr(os, "fsync", self._looking(os.fsync))

    def _looking(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*given: Any, **options: Any) -> Any:
            self.look()
            return operation(*given, **options)

        return looked


def _decisive(disk: Disk) -> str:
    """Return what decides from where a run is gone on with: newest state, record, manifest."""
    newest = sorted(name for name in disk if STATE.fullmatch(name))[-1:]
    kept = [(name, disk.get(name)) for name in (*newest, "record.json", "model/model.toml")]
    return hashlib.sha256(repr(kept).encode()).hexdigest()


@pytest.fixture
def go(tiny_backbone: Callable[[], Backbone], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # nobody pulls the plug here
    images = load_source("synthetic", n_classes=4, images_per_class=4, test_images_per_class=2, size=16)
    shared = tmp_path / "cache"

    def go(recipe: Any, folder: Path, **options: Any) -> Any:
        return run(recipe, folder, dataset=images, backbone=tiny_backbone(), cache=shared, **options)

    return go


def _recipe(name: str, *changes: str) -> Any:
    usual = ("stream.tasks=2", "training.epochs=2", "training.batch_size=4", "training.checkpoint_every=1")
    return recipes.load("digits", [*usual, *changes], method=name)


ALL_THAT_IS_CARRIED = (
    *("training.average=0.9", "training.lora_dropout=0.3", "training.optimiser=adamw", "training.accumulation=2"),
    *("training.alignment.epochs=1", "training.penalties.angle=0.1", "training.clip_norm=1.0"),
)
"""Settings by which steps hand on, or draw, more than by default."""
GATES = ("training.ranks.policy=gated_l1", "training.ranks.penalty=20.0", "training.penalties.logits=0.5")
"""Settings by which more learns than by default, and is gone when the task ends."""
SMALLER = dict.fromkeys(("ran_pac", "ran_pac_lora", "loranpac"), ("method.random_features=60",))
"""Options that cost time and change nothing of what is stored when."""


@pytest.mark.parametrize(
    ("name", "changes"),
    [*((name, ()) for name in methods.names()), ("sd_lora", ALL_THAT_IS_CARRIED), ("sd_lora", GATES)],
)
def test_stopped_between_any_two_file_operations_it_ends_with_the_same_bytes(
    name: str,
    changes: tuple[str, ...],
    go: Callable[..., Any],
    outcome: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = _recipe(name, *changes, *SMALLER.get(name, ()), *([] if name in THOROUGHLY else ["training.epochs=1"]))
    watched = Watched(tmp_path / "whole")
    with monkeypatch.context() as patch:
        watched.watch(patch)
        go(recipe, tmp_path / "whole")
    expected = outcome(tmp_path / "whole")
    assert expected["files"] == ["model", "record.json"]
    distinct = {_decisive(disk): disk for disk in watched.seen if disk}
    assert len(watched.seen) > 2 * len(distinct) > 8
    begun: list[Event] = []
    for number, disk in enumerate(distinct.values()):
        folder = _laid_out(tmp_path / f"cut {number}", disk)
        go(recipe, folder, resume=True, listen=begun.append)
        assert outcome(folder) == expected
        shutil.rmtree(folder)
    fresh = sum(isinstance(event, TaskStarted) for event in begun)
    assert fresh < 2 * len(distinct), "some went on from the second task"


def _laid_out(folder: Path, disk: Disk) -> Path:
    for name, content in disk.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
