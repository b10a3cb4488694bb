"""What a source gives: labelled images that are decoded one by one when asked, as 8-bit RGB."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from lorastream.errors import DataError

# What Pillow raises on a file that is torn, is no image, or is made to exhaust memory.
BROKEN_IMAGE_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    PIL.Image.DecompressionBombError,
)


IMAGE_SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)
"""Files that are taken for images, by the end of their names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Labelled images, decoded one by one when asked.

    Attributes:
        labels: `[n]`, positions in the source's class names.
        read: decodes image i to RGB; may be called from several threads; raises `DataError` naming the image when it is
            broken.
        names: where image i comes from, for messages and reports: a path, `digits[17]`.
        fingerprint: changes when the content changes; the cache is keyed by it.
    """

    labels: NDArray[np.int64]
    read: Callable[[int], PIL.Image.Image]
    names: Sequence[str]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> Images:
        """Return the images at these positions, in this order; all of them in order is the same object."""
        positions = np.asarray(indices, dtype=np.int64)
        if np.array_equal(positions, np.arange(len(self))):
            return self
        return Images(
            labels=self.labels[positions],
            read=lambda i: self.read(int(positions[i])),
            names=[self.names[int(position)] for position in positions],
            fingerprint=fingerprint_of(self.fingerprint, positions),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A source's images, split into training and test.

    Attributes:
        name: how the source calls it.
        class_names: in the source's own (natural) order; labels are positions in it.
        train: images to learn from.
        test: images to evaluate on; may be empty where the source was told to hold out none.
        notes: what its reader should know, such as files that were left out.
    """

    name: str
    class_names: tuple[str, ...]
    train: Images
    test: Images
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_class_names(self.class_names, where=f"dataset {self.name}")
        for role, images in (("train", self.train), ("test", self.test)):
            if len(images) and not 0 <= images.labels.min() <= images.labels.max() < len(self.class_names):
                raise DataError(
                    f"dataset {self.name}, labels of its {role} images",
                    expected=f"0 to {len(self.class_names) - 1}, as there are {len(self.class_names)} class names",
                    got=f"{images.labels.min()} to {images.labels.max()}",
                    next_step="give a name to every class",
                )


def check_class_names(class_names: Sequence[str], *, where: str) -> None:
    """Refuse names that occur twice, also where only case or blanks at the ends differ, and names that are empty.

    Raises:
        DataError: naming the first such pair.
    """
    known: dict[str, str] = {}
    for name in class_names:
        key = name.strip().casefold()
        if not key:
            raise DataError(
                where, expected="class names that are not empty", got=repr(name), next_step="name the class"
            )
        if key in known:
            raise DataError(
                where,
                expected="class names that differ by more than case and blanks at the ends",
                got=f"{known[key]!r} and {name!r}",
                next_step="rename one of the two, or put their images together",
            )
        known[key] = name


def count_by_class(images: Images, n_classes: int) -> list[int]:
    """Return the number of images of each class."""
    counts = Counter(images.labels.tolist())
    return [counts[label] for label in range(n_classes)]


def fingerprint_of(*parts: str | bytes | NDArray[np.generic]) -> str:
    """Return 32 hexadecimal digits that change when any of the parts changes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            content = np.ascontiguousarray(part)
            digest.update(f"array {content.dtype.str} {content.shape} ".encode())
            digest.update(content.data if content.size else b"")
        else:
            content = part.encode() if isinstance(part, str) else part
            digest.update(f"bytes {len(content)} ".encode())
            digest.update(content)
    return digest.hexdigest()


def decode(content: Path | bytes, *, name: str) -> PIL.Image.Image:
    """Decode an encoded image to upright 8-bit RGB.

    Args:
        content: a file, or what would stand in one.
        name: how to call it in a message.

    Raises:
        DataError: it cannot be read or is no image, is truncated or is damaged.
    """
    try:
        with PIL.Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            image.load()
            return to_rgb(PIL.ImageOps.exif_transpose(image))
    except BROKEN_IMAGE_ERRORS as error:
        raise DataError(
            name,
            expected="an image that Pillow can decode",
            got=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
            next_step="repair the image or take it out of the data",
        ) from error


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return the image as 8-bit RGB: transparency over white, deep grey scaled down and not cut off.

    16-bit grey maps 0..65535 to 0..255; 32-bit integers are read as 16-bit grey, as older Pillow opens it so; floats
    are read as 0..1 where none exceeds 1, else as 0..255.
    """
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _deep_grey_to_rgb(image)
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = PIL.Image.new("RGBA", layered.size, "white")
        return PIL.Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def _deep_grey_to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    if image.mode != "F":
        values = values / 257
    elif values.max(initial=0.0) <= 1:
        values = values * 255
    return PIL.Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")
