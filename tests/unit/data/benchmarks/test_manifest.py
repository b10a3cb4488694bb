"""A manifest says of a split all that is needed, and its SHA-256 changes with the split and with nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.data.benchmarks import manifest as manifests
from lorastream.data.benchmarks.manifest import Manifest, SplitClass, UnpackedArchive
from lorastream.errors import DataError

CLASSES = (
    SplitClass(name="bee", train=("bee/1.jpg", "bee/2.jpg"), test=("bee/3.jpg",)),
    SplitClass(name="ant", train=("ant/1.jpg",), test=("ant/2.jpg",)),
)
SPLIT = Manifest(benchmark="b", split="s", kind="lists", rule="as listed", folder="f", classes=CLASSES).signed()


def test_written_and_read_it_is_the_same(tmp_path: Path) -> None:
    path = manifests.write(SPLIT, tmp_path)
    assert path == tmp_path / "lorastream/b/s.json" == manifests.place(tmp_path, "b", "s")
    assert manifests.read_intact(path) == SPLIT
    assert manifests.splits_there(tmp_path, "b") == ["s"]
    assert SPLIT.counts == (3, 2)


def test_the_hash_is_that_of_the_split_alone() -> None:
    elsewhere = SPLIT.model_copy(
        update={
            "folder": "g",
            "rule": "drawn",
            "split": "t",
            "archives": (UnpackedArchive(name="a", sha256="0"),),
        }
    )
    assert elsewhere.digest() == SPLIT.sha256
    assert len(SPLIT.sha256) == 64


@pytest.mark.parametrize(
    "classes",
    [
        CLASSES[::-1],
        CLASSES[:1],
        (CLASSES[0].model_copy(update={"name": "wasp"}), CLASSES[1]),
        (CLASSES[0].model_copy(update={"train": ("bee/1.jpg", "bee/3.jpg"), "test": ("bee/2.jpg",)}), CLASSES[1]),
    ],
    ids=["order", "fewer", "name", "moved"],
)
def test_another_split_has_another_hash(classes: tuple[SplitClass, ...]) -> None:
    assert SPLIT.model_copy(update={"classes": classes}).digest() != SPLIT.sha256


@given(st.one_of(st.text(max_size=5), st.text("aZ0._-/", max_size=5)))
def test_any_name_that_is_no_file_name_is_refused(name: str) -> None:
    if name.isascii() and name[:1].isalnum() and name.replace("_", "").replace("-", "").replace(".", "").isalnum():
        place = manifests.place(Path("r"), "b", name)
        assert (place.parent, place.name) == (Path("r/lorastream/b"), f"{name}.json")
    else:
        with pytest.raises(DataError) as raised:
            manifests.place(Path("r"), "b", name)
        assert raised.value.faults[0].got == repr(name)


def test_a_split_that_was_changed_is_told(tmp_path: Path) -> None:
    path = manifests.write(SPLIT, tmp_path)
    path.write_text(path.read_text().replace("bee/3.jpg", "bee/4.jpg"))
    assert manifests.read(path).classes[0].test == ("bee/4.jpg",)
    with pytest.raises(DataError, match="it was changed since it was made"):
        manifests.read_intact(path)


@pytest.mark.parametrize(
    ("old", "new", "got"),
    [
        ("bee/3.jpg", "../../etc/passwd", "classes.0.test.0: Value error, a path that stays below the root"),
        ("bee/3.jpg", "/etc/passwd", "classes.0.test.0: Value error, a path that stays below the root"),
        ('"folder":"f"', '"folder":".."', "folder: Value error, a path that stays below the root"),
        ('"schema_version":1', '"schema_version":2', "schema_version: Input should be 1"),
        ('"benchmark"', '"bench"', "benchmark: Field required"),
    ],
)
def test_a_manifest_of_another_kind_is_told(old: str, new: str, got: str, tmp_path: Path) -> None:
    path = manifests.write(SPLIT, tmp_path)
    text = json.dumps(json.loads(path.read_text()), separators=(",", ":"))
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError) as raised:
        manifests.read(path)
    assert raised.value.faults[0].got == got


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_torn_one_is_told(share: float, tmp_path: Path) -> None:
    path = manifests.write(SPLIT, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * (len(content) - 2))])
    with pytest.raises(DataError, match="the document: Invalid JSON"):
        manifests.read(path)
