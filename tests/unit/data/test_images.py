"""Any image that Pillow can decode becomes upright 8-bit RGB; any other is an error that names it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from lorastream.data.images import Dataset, Images, check_class_names, count_by_class, decode, fingerprint_of, to_rgb
from lorastream.errors import DataError


def encoded(image: PIL.Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_sixteen_bit_grey_is_scaled_down_and_not_cut_off() -> None:
    grey = PIL.Image.fromarray(np.array([[0, 257, 25700, 65535]], dtype=np.uint16))
    pixels = np.asarray(decode(encoded(grey), name="grey"))
    assert pixels[0, :, 0].tolist() == [0, 1, 100, 255]
    assert (pixels == pixels[:, :, :1]).all()


def test_wide_integers_and_floats_become_grey_levels() -> None:
    wide = PIL.Image.fromarray(np.array([[-5, 2570, 70000]], dtype=np.int32))
    assert np.asarray(to_rgb(wide))[0, :, 1].tolist() == [0, 10, 255]
    unit = PIL.Image.fromarray(np.array([[0.0, 0.2, 1.0]], dtype=np.float32))
    assert np.asarray(to_rgb(unit))[0, :, 1].tolist() == [0, 51, 255]
    levels = PIL.Image.fromarray(np.array([[0.0, 80.4, 300.0]], dtype=np.float32))
    assert np.asarray(to_rgb(levels))[0, :, 1].tolist() == [0, 80, 255]


def test_transparency_is_seen_over_white() -> None:
    clear_black = PIL.Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert np.asarray(decode(encoded(clear_black), name="clear")).min() == 255
    palette = PIL.Image.new("P", (2, 2), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    assert np.asarray(decode(encoded(palette), name="palette"))[0, 0].tolist() == [10, 20, 30]
    assert np.asarray(decode(encoded(palette, transparency=0), name="clear"))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("mode", "colour"), [("1", 1), ("L", 255), ("LA", (255, 255)), ("CMYK", (0, 0, 0, 0))])
def test_other_modes_keep_their_white(mode: str, colour: int | tuple[int, ...]) -> None:
    image = to_rgb(PIL.Image.new(mode, (3, 2), colour))
    assert image.mode == "RGB"
    assert image.size == (3, 2)
    assert np.asarray(image).min() == 255


def test_a_picture_taken_sideways_is_turned_upright() -> None:
    image = PIL.Image.new("RGB", (4, 2))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    assert decode(encoded(image, "JPEG", exif=exif), name="sideways").size == (2, 4)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_file_is_an_error_that_names_it(form: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = encoded(PIL.Image.fromarray(noise), form)
    path = tmp_path / f"torn.{form.lower()}"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"torn\."):
        decode(path, name=str(path))


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40])
def test_what_is_no_image_is_an_error(content: bytes) -> None:
    with pytest.raises(DataError, match=r"table\[3\]"):
        decode(content, name="table[3]")


def test_a_file_that_is_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png"):
        decode(tmp_path / "gone.png", name=str(tmp_path / "gone.png"))


def test_a_subset_keeps_image_label_and_name_together(random_images: Callable[..., Images]) -> None:
    images = random_images([(2, 2), (3, 3), (4, 4)], [5, 6, 7])
    subset = images.subset([2, 0])
    assert subset.labels.tolist() == [7, 5]
    assert subset.names == ["noise[2]", "noise[0]"]
    assert [subset.read(i).size for i in range(2)] == [(4, 4), (2, 2)]
    assert subset.subset([1]).read(0).size == (2, 2)


def test_another_subset_has_another_fingerprint_and_all_of_them_the_same(random_images: Callable[..., Images]) -> None:
    images = random_images([(2, 2)] * 3)
    assert images.subset([0, 1, 2]) is images
    fingerprints = {images.subset(indices).fingerprint for indices in ([0, 1, 2], [2, 1, 0], [0, 1], [0, 2], [])}
    assert len(fingerprints) == 5


def test_fingerprints_tell_parts_apart() -> None:
    assert fingerprint_of("ab", "c") != fingerprint_of("a", "bc")
    assert fingerprint_of(np.zeros((2, 3))) != fingerprint_of(np.zeros((3, 2)))
    assert fingerprint_of(np.zeros(2, dtype=np.int32)) != fingerprint_of(np.zeros(1, dtype=np.int64))
    assert fingerprint_of("x", np.arange(3)) == fingerprint_of("x", np.arange(3))


@pytest.mark.parametrize("names", [("cat", "Cat"), ("cat", "dog", "cat "), ("cat", "cat")])
def test_class_names_that_differ_by_case_or_blanks_alone_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"'cat' and '[cC]at ?'"):
        check_class_names(names, where="here")


def test_a_class_without_a_name_is_refused() -> None:
    with pytest.raises(DataError, match="not empty"):
        check_class_names(("a", " "), where="here")


def test_a_label_without_a_class_is_refused(random_images: Callable[..., Images]) -> None:
    images = random_images([(2, 2)] * 2, [0, 2])
    with pytest.raises(DataError, match=r"0 to 1(.|\n)*0 to 2"):
        Dataset(name="d", class_names=("a", "b"), train=images, test=images)


def test_images_are_counted_by_class(random_images: Callable[..., Images]) -> None:
    assert count_by_class(random_images([(1, 1)] * 4, [2, 0, 2, 2]), 4) == [1, 0, 3, 0]
