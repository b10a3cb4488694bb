"""A folder keeps its past: whatever is killed or fails, the model is the old one or the new, and no step is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lorastream.errors import CheckpointError, RunError
from lorastream.training import checkpoint
from lorastream.training import manifest as manifest_file
from lorastream.training.checkpoint import read_model, write_model
from lorastream.training.manifest import history, read_manifest, restore, rewrite_manifest


def _write(folder: Path, number: int, *, step: dict[str, Any] | None = None) -> None:
    parts = {"head": {"weight": torch.full((2, 3), float(number))}, "adapters": {"up": torch.ones(2)}}
    write_model(folder, {"seed": number}, [[f"class {number}"]], parts, step=step)


def _steps(folder: Path, count: int) -> None:
    for number in range(1, count + 1):
        _write(folder, number, step={"kind": "learn", "images": number})


def _weight(folder: Path, step: int | None = None) -> float:
    return read_model(folder, step=step)[1]["head"]["weight"][0, 0].item()


def test_every_step_keeps_its_manifest_and_its_tensors(tmp_path: Path) -> None:
    _steps(tmp_path, 3)
    assert [(step.number, step.is_current) for step in history(tmp_path)] == [(1, False), (2, False), (3, True)]
    assert [_weight(tmp_path, number) for number in (1, 2, 3)] == [1.0, 2.0, 3.0]
    assert _weight(tmp_path) == 3.0
    assert len(list(tmp_path.glob("adapters-*"))) == 1, "what did not change is stored once"
    assert [step.manifest["step"]["images"] for step in history(tmp_path)] == [1, 2, 3]
    assert (tmp_path / "model.toml").read_bytes() == (tmp_path / "history/0003.toml").read_bytes()


def test_a_model_that_had_no_history_is_the_first_step(tmp_path: Path) -> None:
    _write(tmp_path, 1)
    content = (tmp_path / "model.toml").read_bytes()
    assert [(step.number, step.is_current) for step in history(tmp_path)] == [(1, True)]
    assert not (tmp_path / "history").exists()
    _write(tmp_path, 2, step={"kind": "learn"})
    assert [step.number for step in history(tmp_path)] == [1, 2]
    assert history(tmp_path)[1].manifest["step"]["after"] == 1
    restore(tmp_path, 1)
    assert (tmp_path / "model.toml").read_bytes() == content


def test_a_folder_with_a_history_goes_on_keeping_it(tmp_path: Path) -> None:
    _steps(tmp_path, 1)
    _write(tmp_path, 1)
    assert len(history(tmp_path)) == 1, "nothing has changed"
    _write(tmp_path, 2)
    assert [step.manifest["step"]["kind"] for step in history(tmp_path)] == ["learn", "save"]
    assert _weight(tmp_path, 1) == 1.0


def test_a_manifest_that_another_release_wrote_over_is_kept(tmp_path: Path) -> None:
    """One that knows no history writes `model.toml` alone."""
    _steps(tmp_path, 2)
    path = tmp_path / "model.toml"
    path.write_bytes(path.read_bytes().replace(b"seed = 2", b"seed = 7"))
    assert [(step.number, step.is_current) for step in history(tmp_path)] == [(1, False), (2, False), (3, True)]
    restore(tmp_path, 1)
    assert read_manifest(tmp_path, step=3)["seed"] == 7


@pytest.mark.parametrize("failing", range(1, 5))
def test_a_kill_between_any_two_writes_leaves_a_whole_model_and_all_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Four writes: the head, the step, the manifest, the names of the classes."""
    _steps(tmp_path, 2)
    calls: list[Path] = []
    write = checkpoint.write_atomically

    def crash(path: Path, data: bytes | str) -> None:
        calls.append(path)
        if len(calls) == failing:
            raise RunError(str(path), expected="room", got="No space left on device", next_step="free some")
        write(path, data)

    for module in (checkpoint, manifest_file):
        monkeypatch.setattr(module, "write_atomically", crash)
    with pytest.raises(RunError):
        _write(tmp_path, 3, step={"kind": "learn"})
    monkeypatch.undo()
    assert _weight(tmp_path) == (3.0 if failing == 4 else 2.0)
    assert [_weight(tmp_path, number) for number in (1, 2)] == [1.0, 2.0]
    assert all(_weight(tmp_path, step.number) for step in history(tmp_path)), "every step that is listed is whole"
    _write(tmp_path, 4, step={"kind": "learn"})
    assert _weight(tmp_path) == 4.0
    assert [_weight(tmp_path, number) for number in (1, 2)] == [1.0, 2.0]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_kill_while_going_back_leaves_a_whole_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    _steps(tmp_path, 2)
    calls: list[Path] = []
    write = manifest_file.write_atomically

    def crash(path: Path, data: bytes | str) -> None:
        calls.append(path)
        if len(calls) == failing:
            raise RunError(str(path), expected="room", got="No space left on device", next_step="free some")
        write(path, data)

    monkeypatch.setattr(manifest_file, "write_atomically", crash)
    with pytest.raises(RunError):
        restore(tmp_path, 1)
    monkeypatch.undo()
    assert _weight(tmp_path) == (2.0 if failing == 1 else 1.0)
    assert len(history(tmp_path)) == 2


def test_what_a_damaged_step_names_is_not_removed(tmp_path: Path) -> None:
    _steps(tmp_path, 2)
    before = {path.name for path in tmp_path.glob("head-*")}
    (tmp_path / "history/0001.toml").write_text("torn")
    with pytest.raises(CheckpointError, match=r"0001\.toml"):
        history(tmp_path)
    manifest_file._remove_unnamed(tmp_path, set())
    assert {path.name for path in tmp_path.glob("head-*")} == before


def test_a_manifest_is_rewritten_without_its_tensors(tmp_path: Path) -> None:
    _steps(tmp_path, 1)
    (tmp_path / "history/notes.txt").write_text("not ours")
    rewrite_manifest(tmp_path, {"classes": [["owl"]]}, step={"kind": "rename"})
    assert read_manifest(tmp_path)["classes"] == [["owl"]]
    assert (_weight(tmp_path), len(history(tmp_path))) == (1.0, 2)
    assert (tmp_path / "classes.json").read_text("utf-8").split() == ["[", "[", '"owl"', "]", "]"]


def test_the_old_model_is_refused_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _steps(tmp_path, 1)

    def closed(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", closed)
    with pytest.raises(CheckpointError, match="Permission denied"):
        read_manifest(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="a folder that can be made"):
        _write(tmp_path / "file" / "model", 1)
