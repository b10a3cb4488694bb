"""A folder as it is found: what cannot be read is listed and left out, too much of it refused; the split is fixed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from lorastream.errors import DataError
from lorastream.visits.material import read

Draw = Callable[..., Path]


def test_the_split_follows_from_seed_and_file_name_alone(draw: Draw) -> None:
    folder = draw("a", 20, "cat", "dog")
    first = read(folder, seed=1)
    assert list(read(folder, seed=1).held_out.names) == list(first.held_out.names)
    assert list(read(folder, seed=2).held_out.names) != list(first.held_out.names)
    moved = folder.rename(folder.with_name("elsewhere"))
    assert list(read(moved, seed=1).held_out.names) == list(first.held_out.names)
    assert not {*first.train.names} & {*first.held_out.names}
    assert (len(first.train), len(first.held_out)) == (32, 8)


def test_nothing_is_held_out_of_a_class_of_one_image_or_where_that_is_said(draw: Draw) -> None:
    found = read(draw("a", {"cat": 1, "dog": 5}))
    assert found.not_held_out == ("cat",)
    assert sorted(set(found.train.labels.tolist())) == [0, 1]
    assert len(read(draw("b", 5, "cat"), held_out=0.0).held_out) == 0


def test_a_folder_that_says_what_is_held_out_is_taken_at_its_word(draw: Draw) -> None:
    folder = draw("a/train", 4, "cat", "dog").parent
    draw("a/test", 2, "cat", "dog")
    found = read(folder)
    assert (len(found.train), len(found.held_out), found.class_names) == (8, 4, ("cat", "dog"))


def test_files_that_cannot_be_read_are_left_out_and_listed(draw: Draw) -> None:
    folder = draw("a", 20, "cat", "dog")
    whole = (folder / "cat/0.png").read_bytes()
    (folder / "cat/1.png").write_bytes(b"")
    (folder / "dog/2.png").write_bytes(whole[: len(whole) // 2])
    (folder / "dog/3.png").write_text("not a picture")
    (folder / "dog/4.png").unlink()
    (folder / "dog/4.png").symlink_to(folder / "nowhere.png")
    found = read(folder)
    assert [fault.partition(":")[0] for fault in found.broken] == ["cat/1.png", "dog/2.png", "dog/3.png", "dog/4.png"]
    assert len(found.train) + len(found.held_out) == 36
    with pytest.raises(DataError, match=r"(?s)at most 5% of 40.*4 that cannot be read: cat/1.png.*--broken-share"):
        read(folder, broken_share=0.05)


def test_a_class_of_which_nothing_can_be_read_is_refused(draw: Draw) -> None:
    folder = draw("a", {"cat": 20, "dog": 1})
    (folder / "dog/0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)class 'dog'.*at least one image that can be read"):
        read(folder)


def test_pictures_of_every_mode_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "Käuzchen 猫"
    folder.mkdir(parents=True)
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"):
        suffix = "tif" if mode in {"CMYK", "YCbCr"} else "png"
        PIL.Image.fromarray(values).convert("RGB").convert(mode).save(folder / f"{mode}.{suffix}")
    PIL.Image.fromarray(values.astype(np.uint16) * 500).save(folder / "deep.png")
    frames = [PIL.Image.fromarray(values + i) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    rotated = PIL.Image.Exif()
    rotated[0x0112] = 6
    PIL.Image.fromarray(values).resize((12, 6)).save(folder / "turned 日.jpg", exif=rotated)
    PIL.Image.fromarray(values[:1, :1]).save(folder / "dot.png")
    found = read(tmp_path / "photos", held_out=0.0)
    assert (found.broken, len(found.train)) == ((), 12)
    sizes = {found.train.names[i]: found.train.read(i).size for i in range(12)}
    assert sizes["Käuzchen 猫/turned 日.jpg"] == (6, 12)


def test_a_bomb_is_left_out(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses what has more than twice its limit of pixels; the limit is lowered here, not the picture made."""
    folder = draw("a", 20, "cat")
    PIL.Image.new("1", (200, 200)).save(folder / "cat" / "bomb.png")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10_000)
    (fault,) = read(folder).broken
    assert fault.startswith("cat/bomb.png: DecompressionBombError")


def test_a_circle_of_links_comes_to_an_end(draw: Draw) -> None:
    folder = draw("a", 3, "cat")
    (folder / "cat" / "again").symlink_to(folder / "cat", target_is_directory=True)
    (folder / "loop").symlink_to(folder / "loop")
    assert len(read(folder, held_out=0.0).train) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere", "no such path"),
        ("file.txt", "a file"),
        ("empty", "one folder a class"),
        ("bare", "one folder a class"),
        ("hollow", r"(?s)class folder.*no files"),
    ],
)
def test_a_folder_that_is_none_is_refused(tmp_path: Path, draw: Draw, given: str, message: str) -> None:
    (tmp_path / "file.txt").write_text("words")
    (tmp_path / "empty").mkdir()
    (draw("bare", 2, "cat") / "cat").rename(tmp_path / "cat")
    (tmp_path / "bare" / "0.png").write_bytes((tmp_path / "cat" / "0.png").read_bytes())
    (tmp_path / "hollow" / "dog").mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        read(tmp_path / given)


def test_a_folder_that_may_not_be_read_is_named(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = draw("a", 3, "cat", "dog")
    scan = os.scandir

    def closed(path: str | Path) -> object:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(DataError, match=r"(?s)a/dog\n.*a folder that may be read.*Permission denied"):
        read(folder)


def test_names_that_are_no_text(draw: Draw) -> None:
    """A file system may hold any bytes: of a file they are spelt out, as the name of a class they are refused."""
    folder = draw("a", 3, "cat")
    odd = os.fsdecode(b"odd\xff.png")
    (folder / "cat" / "0.png").rename(folder / "cat" / odd)
    assert "cat/odd\\udcff.png" in read(folder, held_out=0.0).train.names
    (folder / os.fsdecode(b"\xff")).mkdir()
    with pytest.raises(DataError, match="UTF-8 text"):
        read(folder)


@pytest.mark.parametrize(("key", "value"), [("held_out", 1.0), ("held_out", -0.1), ("broken_share", 1.1)])
def test_parts_are_between_nothing_and_everything(draw: Draw, key: str, value: float) -> None:
    with pytest.raises(DataError, match=f"--{key.replace('_', '-')}"):
        read(draw("a", 3, "cat"), **{key: value})
