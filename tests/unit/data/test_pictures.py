"""Whatever a picture is held in, the backbone sees the same; what is broken is named, and stops only whom it must."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from lorastream.data.pictures import Named, listed, of_classes, prepared
from lorastream.data.transforms import InputSpec, TransformConfig, build_transforms
from lorastream.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = PIXELS[:, :, 0]
TRANSFORM = build_transforms(InputSpec(image_size=8, mean=(0.5,) * 3, std=(0.5,) * 3), TransformConfig())[1]


def _seen(given: Any, size: int = 4) -> torch.Tensor:
    return torch.cat([group.images for group in _groups(listed(given), size=size)])


def _groups(pictures: Sequence[Named], *, size: int = 4, skip_broken: bool = False) -> list[Any]:
    return list(prepared(pictures, TRANSFORM, size=size, workers=2, skip_broken=skip_broken))


EXPECTED = _seen(PIL.Image.fromarray(PIXELS))
EXPECTED_GREY = _seen(PIL.Image.fromarray(GREY))
TENSOR = torch.from_numpy(PIXELS.transpose(2, 0, 1).copy())


@pytest.mark.parametrize(
    "given",
    [
        PIXELS,
        PIXELS / 255,
        (PIXELS / 255).astype(np.float32),
        PIXELS.astype(np.uint16) * 257,
        TENSOR,
        TENSOR / 255,
        (TENSOR / 255).double(),
        TENSOR[None],
        PIXELS[None],
        TENSOR.numpy()[None],
        np.dstack([PIXELS, np.full((20, 30), 255, dtype=np.uint8)]),
        [PIXELS],
    ],
)
def test_every_form_of_a_picture_is_the_same_picture(given: Any) -> None:
    assert torch.equal(_seen(given), EXPECTED)


@pytest.mark.parametrize("given", [GREY, GREY[:, :, None], torch.from_numpy(GREY.copy())[None], GREY / 255])
def test_a_grey_one_is_grey(given: Any) -> None:
    assert torch.equal(_seen(given), EXPECTED_GREY)


def test_many_at_once_keep_their_order(tmp_path: Path) -> None:
    PIL.Image.fromarray(GREY).save(tmp_path / "grey.png")
    given = [PIXELS, tmp_path / "grey.png", torch.stack([TENSOR, TENSOR]), str(tmp_path), PIL.Image.fromarray(GREY)]
    names = [picture.name for picture in listed(given)]
    grey = str(tmp_path / "grey.png")
    assert names == ["picture 1", grey, "picture 3", "picture 4", grey, "picture 6"]
    expected = torch.cat([EXPECTED, EXPECTED_GREY, EXPECTED, EXPECTED, EXPECTED_GREY, EXPECTED_GREY])
    for size in (1, 4, 100):
        assert torch.equal(_seen(given, size), expected)


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (PIXELS.astype(np.int64), "numbers of type int64"),
        (PIXELS / 128 - 1, "numbers from -1 to"),
        (np.full((4, 4), np.nan), "numbers from nan"),
        (PIXELS[:, :, :2], "shape"),
        (np.zeros(5, dtype=np.uint8), "shape"),
        (torch.zeros(5, 4, 4), "shape"),
        (np.zeros((0, 4, 3), dtype=np.uint8), "nothing"),
        ([b"bytes"], "bytes"),
        ([None], "NoneType"),
    ],
)
def test_what_is_no_picture_is_refused(given: Any, got: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)predict, picture 1.*got: +.*{got}"):
        _seen(given)


def _write_all_kinds(folder: Path) -> None:
    rgb = PIL.Image.fromarray(PIXELS)
    for mode in ("L", "P", "1", "RGBA", "LA", "CMYK", "I;16"):
        image = (
            rgb.convert("L").convert("I").point(lambda v: v * 257).convert("I;16")
            if mode == "I;16"
            else rgb.convert(mode)
        )
        image.save(folder / f"{mode.replace(';', '')}.{'jpg' if mode == 'CMYK' else 'png'}")
    rgb.save(folder / "animated.gif", save_all=True, append_images=[rgb.transpose(PIL.Image.Transpose.ROTATE_180)])
    rgb.resize((1, 1)).save(folder / "pixel.png")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    rgb.save(folder / "turned.png", exif=exif)


def test_files_of_every_mode_are_read(tmp_path: Path) -> None:
    _write_all_kinds(tmp_path)
    found = listed(tmp_path)
    assert len(_seen(tmp_path)) == len(found) == 10
    turned = next(i for i, picture in enumerate(found) if picture.name.endswith("turned.png"))
    assert torch.equal(_seen(tmp_path)[turned], _seen(PIXELS.transpose(1, 0, 2)[:, ::-1])[0])
    with PIL.Image.open(tmp_path / "turned.png") as image:
        assert torch.equal(_seen(image)[0], _seen(tmp_path)[turned])


def _bomb(path: Path) -> None:
    """Write the head of a PNG of 20,000 by 20,000 pixels: Pillow looks no further."""
    PIL.Image.new("1", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (20_000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


def test_of_a_folder_the_broken_are_left_out_and_told(tmp_path: Path) -> None:
    PIL.Image.fromarray(PIXELS).save(tmp_path / "b.png")
    (tmp_path / "a.png").touch()
    (tmp_path / "c.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])
    _bomb(tmp_path / "d.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (first, last) = _groups(listed(tmp_path), size=3, skip_broken=True)
    assert (first.positions, [fault.where for error in first.broken for fault in error.faults]) == (
        [1],
        [str(tmp_path / "a.png"), str(tmp_path / "c.png")],
    )
    assert torch.equal(first.images, EXPECTED)
    assert (last.positions, len(last.images)) == ([], 0)
    assert "DecompressionBombError" in str(last.broken[0])
    with pytest.raises(DataError, match=r"a\.png"):
        _groups(listed(tmp_path))


def test_a_broken_one_that_was_asked_for_by_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"(?s)a\.png.*UnidentifiedImageError"):
        _groups(listed(tmp_path / "a.png"), skip_broken=True)
    with pytest.raises(DataError, match="no such file"):
        listed(tmp_path / "nowhere.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="without any"):
        listed(tmp_path / "empty")


def test_folders_in_a_circle_are_walked_once_in_any_script(tmp_path: Path) -> None:
    for name in ("птица", "鳥"):
        (tmp_path / name).mkdir()
        PIL.Image.fromarray(PIXELS).save(tmp_path / name / f"{name}.png")
    (tmp_path / "鳥" / "round").symlink_to(tmp_path)
    found = of_classes(tmp_path)
    assert list(found) == ["птица", "鳥"]
    assert [picture.name for picture in found["птица"]] == [str(tmp_path / "птица" / "птица.png")]


def test_a_folder_that_holds_train_and_test_asks_for_one_of_them(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"(?s)train/ and test/.*/test"):
        of_classes(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        of_classes(tmp_path / "nowhere")


def test_few_pictures_are_in_memory_at_once() -> None:
    """Three groups at most: the one in use and those that two threads make."""
    asked: list[int] = []

    class Lazy(list[Named]):
        def __getitem__(self, index: Any) -> Any:
            asked.append(index)
            return super().__getitem__(index)

    pictures = Lazy(listed([PIXELS] * 40))
    groups = prepared(pictures, TRANSFORM, size=4, workers=2, skip_broken=False)
    next(groups)
    assert max(asked) < 4 * 4
