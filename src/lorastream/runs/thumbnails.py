"""Small pictures of mistaken test images, in a folder beside the record that names them: what the page of a run shows.

They are kept only where a run is asked to, as they show what is in somebody's data. A record without its pictures is
whole: a page made of it has none.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from lorastream.files import make_folder, write_atomically
from lorastream.runs.document import Count, Document

if TYPE_CHECKING:
    import PIL.Image

FOLDER = "thumbnails"
SIDE = 96  # pixels
_QUALITY = 90
_LARGEST = 100_000  # bytes; ours are a tenth of it


class Thumbnail(Document):
    """A test image of one class that was taken for another; classes by their place in the order of arrival."""

    true: Count = Field(description="the class that it is of")
    taken: Count = Field(description="the class that it was taken for")
    image: str = Field(description="where the image comes from, as its source calls it")
    file: str = Field(pattern=r"^\w+(-\w+)*\.jpg$", description=f"name of its picture in the folder {FOLDER}")


def write(folder: Path, thumbnail: Thumbnail, picture: PIL.Image.Image) -> None:
    """Write a small picture of an image, atomically; the same image gives the same bytes.

    Args:
        folder: of the run.
        thumbnail: what the record says of it.
        picture: the image in RGB; shrunk in place to `SIDE` pixels where it is larger.

    Raises:
        CheckpointError: the folder cannot be made.
        RunError: it could not be written.
    """
    picture.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=_QUALITY, subsampling=0)
    make_folder(folder / FOLDER)
    write_atomically(folder / FOLDER / thumbnail.file, content.getvalue())


def read(folder: Path, thumbnail: Thumbnail) -> bytes | None:
    """Return a picture as it lies in the folder of a run; None where it is gone, or too large to be one of ours."""
    file = folder / FOLDER / thumbnail.file
    try:
        return file.read_bytes() if file.stat().st_size <= _LARGEST else None
    except OSError:
        return None


def remove_old(folder: Path, before: Iterable[Thumbnail], now: Iterable[Thumbnail]) -> None:
    """Remove the pictures that the record named before and does not name now."""
    for file in {one.file for one in before} - {one.file for one in now}:
        (folder / FOLDER / file).unlink(missing_ok=True)
