"""A folder holds the old model or the new one, whole, at any instant; damage is found out; nothing is pickled."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors import safe_open
from torch import Tensor

from lorastream.errors import CheckpointError, RunError
from lorastream.training import checkpoint
from lorastream.training import manifest as manifest_file
from lorastream.training.checkpoint import read_model, write_model

FACTS: dict[str, Any] = {
    "seed": 3,
    "method": {"name": "sd_lora", "targets": ("query", "value"), "clip": None},
    "training": {"lr": 0.008, "milestones": []},
}
CLASSES = [["cat", "dog"], ["Käuzchen"]]
Parts = dict[str, dict[str, Tensor]]


def _parts(seed: int = 0) -> Parts:
    generator = torch.Generator().manual_seed(seed)
    return {
        "head": {"weight": torch.randn(3, 4, generator=generator), "bias": torch.zeros(3)},
        "adapters": {"blocks.0/up": torch.randn(4, 2, generator=generator)[:, ::2], "empty": torch.empty(0, 4)},
        "method": {},
    }


def _write(folder: Path, seed: int = 0, classes: list[list[str]] | None = None) -> None:
    write_model(folder, {**FACTS, "seed": seed}, classes or CLASSES, _parts(seed))


def _same(found: Parts, expected: Parts) -> bool:
    filled = {part: tensors for part, tensors in expected.items() if tensors}
    return found.keys() == filled.keys() and all(
        found[part].keys() == tensors.keys() and all(torch.equal(found[part][n], t) for n, t in tensors.items())
        for part, tensors in filled.items()
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    _write(tmp_path / "new" / "folder")
    manifest, parts = read_model(tmp_path / "new" / "folder")
    assert _same(parts, _parts())
    assert manifest["classes"] == CLASSES
    assert manifest["method"] == {
        "name": "sd_lora",
        "targets": ["query", "value"],
    }  # TOML knows neither None nor tuples
    assert (manifest["seed"], manifest["training"]) == (0, FACTS["training"])
    assert json.loads((tmp_path / "new" / "folder" / "classes.json").read_text("utf-8")) == CLASSES


def test_the_folder_holds_what_the_manifest_names_and_no_pickle(tmp_path: Path) -> None:
    for seed in range(3):
        _write(tmp_path, seed)
    manifest = tomllib.loads((tmp_path / "model.toml").read_text("utf-8"))
    named = {entry["file"] for entry in manifest["files"].values()}
    assert {path.name for path in tmp_path.iterdir()} == {"model.toml", "classes.json", *named}
    assert {name.rpartition("-")[0] for name in named} == {"head", "adapters"}
    for name in named:
        with safe_open(tmp_path / name, framework="pt") as stored:  # what is pickled does not open
            assert stored.keys()


def test_files_of_others_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    others = ["model-00001-of-00002.safetensors", "my-head.safetensors", "notes.txt", "adapters-0123456789ab.bin"]
    for name in others:
        (tmp_path / name).write_text("mine")
    _write(tmp_path, 0)
    _write(tmp_path, 1)
    assert all((tmp_path / name).read_text() == "mine" for name in others)


def test_what_did_not_change_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path)
    written: list[str] = []
    for module in (checkpoint, manifest_file):
        monkeypatch.setattr(module, "write_atomically", lambda path, _: written.append(Path(path).name))
    _write(tmp_path)
    assert written == ["model.toml", "classes.json"]


def test_a_damaged_file_is_mended_by_saving_again(tmp_path: Path) -> None:
    _write(tmp_path)
    (head,) = tmp_path.glob("head-*.safetensors")
    head.write_bytes(head.read_bytes()[:-1] + b"?")
    _write(tmp_path)
    assert _same(read_model(tmp_path)[1], _parts())


@pytest.mark.parametrize("failing", range(1, 5))
def test_a_crash_between_any_two_operations_leaves_a_whole_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Four writes: the head, the adapters, the manifest, the names of the classes."""
    _write(tmp_path, 0)
    calls: list[Path] = []
    write = checkpoint.write_atomically

    def crash(path: Path, data: bytes | str) -> None:
        calls.append(path)
        if len(calls) == failing:
            raise RunError(str(path), expected="room", got="OSError: No space left on device", next_step="free some")
        write(path, data)

    for module in (checkpoint, manifest_file):
        monkeypatch.setattr(module, "write_atomically", crash)
    with pytest.raises(RunError):
        _write(tmp_path, 1, [["cat", "dog"], ["owl"]])
    manifest, parts = read_model(tmp_path)
    new = failing == 4  # the manifest was in place already
    assert _same(parts, _parts(int(new)))
    assert (manifest["seed"], manifest["classes"][1]) == ((1, ["owl"]) if new else (0, ["Käuzchen"]))

    monkeypatch.undo()
    _write(tmp_path, 2)
    assert _same(read_model(tmp_path)[1], _parts(2))
    assert len(list(tmp_path.iterdir())) == 4, "what the crash left is cleared away"


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    _write(tmp_path, 0)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*(("os.fsync",) if failing == "fsync" else (Path, "replace")), fail)
    with pytest.raises(RunError, match="No space left"):
        _write(tmp_path, 1)
    monkeypatch.undo()
    assert _same(read_model(tmp_path)[1], _parts(0))
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "gone"])
def test_a_damaged_tensor_file_is_found_out(tmp_path: Path, damage: str) -> None:
    _write(tmp_path)
    (head,) = tmp_path.glob("head-*.safetensors")
    content = head.read_bytes()
    if damage == "gone":
        head.unlink()
    else:
        flipped = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
        head.write_bytes({"cut": content[:-7], "flipped": flipped, "other": b""}[damage])
    with pytest.raises(CheckpointError, match=f"(?s){head.name}.*restore the folder"):
        read_model(tmp_path)


def test_a_manifest_cut_short_at_any_byte_is_found_out(tmp_path: Path) -> None:
    _write(tmp_path)
    manifest = tmp_path / "model.toml"
    content = manifest.read_bytes().rstrip()
    for length in range(len(content)):
        manifest.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            read_model(tmp_path)


@pytest.mark.parametrize("schema", [0, 1, 3, "2", None])
def test_another_schema_is_refused(tmp_path: Path, schema: Any) -> None:
    _write(tmp_path)
    manifest = tomllib.loads((tmp_path / "model.toml").read_text("utf-8"))
    changed = {key: value for key, value in {**manifest, "schema": schema}.items() if value is not None}
    (tmp_path / "model.toml").write_text(tomli_w.dumps(changed), "utf-8")
    with pytest.raises(CheckpointError, match=f"schema {schema}"):
        read_model(tmp_path)


def test_a_manifest_that_is_no_text_is_refused(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "model.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"model\.toml"):
        read_model(tmp_path)


@pytest.mark.parametrize(("made", "message"), [(False, "no such folder"), (True, r"a folder without model\.toml")])
def test_where_there_is_no_model(tmp_path: Path, made: bool, message: str) -> None:
    folder = tmp_path / "model"
    if made:
        folder.mkdir()
    with pytest.raises(CheckpointError, match=message):
        read_model(folder)
