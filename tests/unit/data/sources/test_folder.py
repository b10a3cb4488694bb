"""A folder of class folders is a dataset; whatever is amiss in it is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from lorastream.data import sources
from lorastream.data.cache import materialise
from lorastream.data.geometry import Shrink
from lorastream.errors import DataError


def fill(folder: Path, names: str, *, seed: int = 0) -> None:
    """Write small images under these names, `cat/1.png cat/2.png`, each of another colour."""
    for i, name in enumerate(names.split()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (5, 4), (seed, 10 * i, 20)).save(path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    fill(tmp_path / "pets", "train/cat/1.png train/cat/2.png train/dog/a/b/1.png test/cat/3.png test/dog/2.png")
    return tmp_path / "pets"


@pytest.fixture
def one_folder(tmp_path: Path) -> Path:
    fill(tmp_path / "all", " ".join(f"{name}/{i:02}.png" for name in ("dog", "cat") for i in range(10)))
    return tmp_path / "all"


def test_two_folders_of_classes(pets: Path) -> None:
    data = sources.load("folder", root=str(pets))
    assert data.name == "pets"
    assert data.class_names == ("cat", "dog")
    assert list(data.train.names) == ["cat/1.png", "cat/2.png", "dog/a/b/1.png"]
    assert data.train.labels.tolist() == [0, 0, 1]
    assert data.test.labels.tolist() == [0, 1]
    assert np.asarray(data.train.read(2))[0, 0].tolist() == [0, 20, 20]


def test_one_folder_with_a_part_held_out(one_folder: Path) -> None:
    data = sources.load("folder", root=one_folder, test_fraction=0.3)
    assert data.class_names == ("cat", "dog")
    assert [int((data.test.labels == label).sum()) for label in (0, 1)] == [3, 3]
    assert sorted([*data.train.names, *data.test.names]) == sorted(
        f"{name}/{i:02}.png" for name in ("cat", "dog") for i in range(10)
    )


def test_the_part_held_out_does_not_depend_on_the_order_of_the_file_system(
    one_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    walk = os.walk
    before = sources.load("folder", root=one_folder, test_fraction=0.3)

    def backwards(top: Path, **options: bool) -> object:
        return ((parent, folders, names[::-1]) for parent, folders, names in walk(top, **options))

    monkeypatch.setattr("os.walk", backwards)
    after = sources.load("folder", root=one_folder, test_fraction=0.3)
    assert after.test.names == before.test.names
    assert sources.load("folder", root=one_folder, test_fraction=0.3, seed=1).test.names != before.test.names


def test_other_names_for_the_two_folders(tmp_path: Path) -> None:
    fill(tmp_path, "train/cat/1.png val/cat/2.png")
    assert list(sources.load("folder", root=tmp_path, test_folder="val").test.names) == ["cat/2.png"]


def test_hidden_files_are_passed_over_and_other_files_counted(pets: Path) -> None:
    for name in (".DS_Store", "notes.txt", "README", "b.txt"):
        (pets / "train/cat" / name).write_text("no image")
    fill(pets, "train/cat/.hidden.png train/cat/.thumbnails/1.png train/.cache/1.png")
    data = sources.load("folder", root=pets)
    assert data.class_names == ("cat", "dog")
    assert len(data.train) == 3
    assert data.notes == (f"{pets / 'train'}: passed over 3 files that are not images (2 .txt, 1 without suffix)",)


def test_a_linked_class_folder_is_followed_and_a_circle_ends(pets: Path) -> None:
    (pets / "train/cat/again").symlink_to(pets / "train/cat")
    (pets / "train/fish").symlink_to(pets / "test/cat")
    fill(pets, "test/fish/1.png")
    data = sources.load("folder", root=pets)
    assert list(data.train.names) == ["cat/1.png", "cat/2.png", "dog/a/b/1.png", "fish/3.png"]


def test_suffixes_are_read_in_any_case(tmp_path: Path) -> None:
    fill(tmp_path, "cat/1.PNG cat/2.JPeG")
    assert len(sources.load("folder", root=tmp_path, test_fraction=0).train) == 2


def test_a_file_that_is_changed_or_added_changes_the_fingerprint(pets: Path) -> None:
    prints = [sources.load("folder", root=pets).train.fingerprint for _ in range(2)]
    PIL.Image.new("RGB", (9, 9), "red").save(pets / "train/cat/1.png")
    prints.append(sources.load("folder", root=pets).train.fingerprint)
    fill(pets, "train/cat/9.png")
    prints.append(sources.load("folder", root=pets).train.fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n torn"])
def test_a_broken_image_is_named_when_it_is_decoded(content: bytes, pets: Path, tmp_path: Path) -> None:
    (pets / "train/cat/2.png").write_bytes(content)
    data = sources.load("folder", root=pets)
    with pytest.raises(DataError, match=r"train/cat/2\.png"):
        materialise(data.train, Shrink(size=8), folder=tmp_path / "c")


def test_a_path_that_is_not_there_or_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, got in (("nowhere", "no such path"), ("file", "a file")):
        with pytest.raises(DataError, match=rf"{name}(.|\n)*{got}(.|\n)*data\.root"):
            sources.load("folder", root=tmp_path / name)


def test_no_class_folders(tmp_path: Path) -> None:
    fill(tmp_path, "1.png")
    with pytest.raises(DataError, match="no folders"):
        sources.load("folder", root=tmp_path, test_fraction=0.2)


def test_one_folder_needs_the_part_to_be_stated(one_folder: Path) -> None:
    with pytest.raises(DataError, match=r"no folder train and no folder test(.|\n)*data\.test_fraction=0\.2"):
        sources.load("folder", root=one_folder)


def test_a_training_folder_alone_is_no_class(pets: Path) -> None:
    (pets / "test").rename(pets / "val")
    with pytest.raises(DataError, match=r"no folder test(.|\n)*data\.test_folder"):
        sources.load("folder", root=pets)


def test_a_stated_part_and_two_folders_contradict_each_other(pets: Path) -> None:
    with pytest.raises(DataError, match="leave out test_fraction"):
        sources.load("folder", root=pets, test_fraction=0.2)


@pytest.mark.parametrize(("where", "got"), [("train", "no files"), ("test", r"no image among its files \(1\)")])
def test_a_class_without_images_is_named(where: str, got: str, pets: Path) -> None:
    for role in ("train", "test"):
        (pets / role / "fish").mkdir()
    other = {"train": "test", "test": "train"}[where]
    fill(pets, f"{other}/fish/1.png")
    if where == "test":
        (pets / "test/fish/notes.txt").write_text("none yet")
    with pytest.raises(DataError, match=rf"{where}/fish(.|\n)*{got}"):
        sources.load("folder", root=pets)


def test_classes_that_are_on_one_side_only_are_named(pets: Path) -> None:
    fill(pets, "train/fish/1.png test/bird/1.png")
    with pytest.raises(DataError, match=r"only in train/: 'fish'; only in test/: 'bird'"):
        sources.load("folder", root=pets)


@pytest.mark.parametrize("twin", ["Cat", "cat ", "CAT"])
def test_class_names_that_differ_by_case_or_blanks_alone(twin: str, pets: Path) -> None:
    for role in ("train", "test"):
        (pets / role / twin).mkdir()
        fill(pets, f"{role}/dog/5.png")
        PIL.Image.new("RGB", (2, 2)).save(pets / role / twin / "1.png")
    with pytest.raises(DataError, match=f"'(cat|{twin})' and '(cat|{twin})'"):
        sources.load("folder", root=pets)
