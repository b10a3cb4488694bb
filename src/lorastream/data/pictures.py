"""Whatever people hold a picture in, made into what a backbone sees: files, folders, PIL images, arrays, tensors."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from lorastream.data.geometry import Pixels
from lorastream.data.images import BROKEN_IMAGE_ERRORS, IMAGE_SUFFIXES, decode, to_rgb
from lorastream.data.sources.folder import class_folders, files_below
from lorastream.errors import DataError

if TYPE_CHECKING:
    import torch

    from lorastream.data.transforms import Transform

Picture: TypeAlias = "PIL.Image.Image | NDArray[Any] | torch.Tensor | str | Path"
"""One picture, a folder of them, or a batch `[n, 3, height, width]`."""
_GREY, _RGB, _RGBA = 1, 3, 4
_OF_A_BATCH = 4  # dimensions


@dataclass(frozen=True, kw_only=True)
class Named:
    """One picture with what it is called in answers and messages.

    Attributes:
        name: the path as it was given, or as the folder given leads to it; `picture 3` where there is no path.
        content: a file, or what is in memory.
        was_found: it was not asked for by name but lay in a folder, and may be left out where it is broken.
    """

    name: str
    content: Path | PIL.Image.Image | NDArray[Any] | torch.Tensor
    was_found: bool = False


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Pictures at the backbone's size.

    Attributes:
        positions: among the pictures asked for, from 0; those that are broken are missing.
        images: uint8 `[n, 3, size, size]`; n may be 0.
        broken: why the others of the same group are missing.
    """

    positions: list[int]
    images: torch.Tensor
    broken: list[DataError]


def listed(given: Picture | Sequence[Picture]) -> list[Named]:
    """Return pictures one by one: those of folders, sorted and to any depth, and those of batches.

    Files in folders are known for pictures by their suffix; no file is opened yet.

    Raises:
        DataError: a path leads nowhere or to a folder without pictures, or something is no picture.
    """
    is_one = isinstance(given, PIL.Image.Image | np.ndarray | str | Path) or _is_tensor(given)
    several: list[Any] = [given] if is_one else list(given)  # pyright: ignore[reportArgumentType] (which a tensor is)
    found: list[Named] = []
    for one in several:
        found += _of_path(one) if isinstance(one, str | Path) else _in_memory(one, len(found))
    return found


def of_classes(root: str | Path) -> dict[str, list[Named]]:
    """Return the pictures below each class folder of a folder, by the name of the class.

    Raises:
        DataError: there are no class folders, or one is empty.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise DataError(
            str(root),
            expected="a folder of class folders",
            got="a file" if folder.exists() else "no such folder",
            next_step="correct the path",
        )
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        raise DataError(
            str(root),
            expected="one folder a class, with its pictures",
            got="train/ and test/",
            next_step=f"give one of the two: {Path(root) / 'test'}",
        )
    return {name: listed(folder / name) for name in class_folders(folder)}


def prepared(
    pictures: Sequence[Named], transform: Transform, *, size: int, workers: int, skip_broken: bool
) -> Iterator[Prepared]:
    """Yield pictures in groups, ready for the backbone, the next ones made while one is used.

    Args:
        pictures: as `listed` gives them.
        transform: of test images.
        size: pictures of a group, at least 1.
        workers: threads; so many groups at most are in memory beside the one in use.
        skip_broken: leave out what was found in a folder and cannot be decoded, and say so.

    Raises:
        DataError: a picture cannot be decoded, and is not to be left out.
    """
    import torch

    from lorastream.data.task import ahead

    def prepare(group: range) -> Prepared:
        positions: list[int] = []
        pixels: list[Pixels] = []
        broken: list[DataError] = []
        for position in group:
            try:
                pixels.append(transform.fixed(_image(pictures[position])))
                positions.append(position)
            except DataError as error:
                if not (skip_broken and pictures[position].was_found):
                    raise
                broken.append(error)
        images = transform.plain(pixels) if pixels else torch.empty(0, _RGB, 1, 1, dtype=torch.uint8)
        return Prepared(positions=positions, images=images, broken=broken)

    groups = (range(first, min(first + size, len(pictures))) for first in range(0, len(pictures), size))
    return ahead(groups, prepare, workers)


def _of_path(given: str | Path) -> list[Named]:
    path = Path(given).expanduser()
    if path.is_dir():
        files = [file for file in files_below(path) if file.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise DataError(
                str(given),
                expected=f"a folder with pictures in it or below it ({', '.join(sorted(IMAGE_SUFFIXES))})",
                got="a folder without any",
                next_step="correct the path, or name the files one by one",
            )
        return [Named(name=str(file), content=file, was_found=True) for file in files]
    if not path.exists():
        raise DataError(
            str(given), expected="a picture, or a folder of pictures", got="no such file", next_step="correct the path"
        )
    return [Named(name=str(given), content=path)]


def _in_memory(given: Any, first: int) -> list[Named]:  # noqa: ANN401 (whatever a caller hands over)
    if isinstance(given, PIL.Image.Image):
        return [Named(name=f"picture {first + 1}", content=given)]
    if not isinstance(given, np.ndarray) and not _is_tensor(given):
        raise _wrong(f"picture {first + 1}", type(given).__name__)
    alone = given[None] if given.ndim < _OF_A_BATCH else given
    return [Named(name=f"picture {first + 1 + i}", content=one) for i, one in enumerate(alone)]


def _image(picture: Named) -> PIL.Image.Image:
    content = picture.content
    if isinstance(content, Path):
        return decode(content, name=picture.name)
    if isinstance(content, PIL.Image.Image):
        try:
            return to_rgb(PIL.ImageOps.exif_transpose(content))
        except BROKEN_IMAGE_ERRORS as error:  # Pillow reads a file when its pixels are asked for
            raise _wrong(picture.name, f"{type(error).__name__}: {error}") from error
    if isinstance(content, np.ndarray):
        channels_first = content.ndim == 3 and content.shape[2] not in {_GREY, _RGB, _RGBA}  # noqa: PLR2004
        values: NDArray[Any] = content
    else:
        exact = content.detach().cpu()
        channels_first = True
        values = (exact.float() if exact.is_floating_point() else exact).numpy()
    match values.shape, channels_first:
        case (_, _), False:
            return _of_values(values[:, :, None], picture.name)
        case (1 | 3, _, _), True:
            return _of_values(values.transpose(1, 2, 0), picture.name)
        case (_, _, _), False:
            return _of_values(values, picture.name)
        case _:
            raise _wrong(picture.name, f"shape {list(values.shape)}")


def _is_tensor(given: object) -> bool:
    """Whether it is one of torch's; where torch was never loaded nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(given, torch.Tensor)


def _of_values(values: NDArray[Any], name: str) -> PIL.Image.Image:
    """Return `[height, width, channels]` as an RGB image."""
    if not values.size:
        raise _wrong(name, f"{list(values.shape)}: nothing")
    if values.dtype == np.uint16:
        values = np.rint(values / 257)
    elif np.issubdtype(values.dtype, np.floating):
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # NaN is neither
            raise _wrong(name, f"numbers from {low:.3g} to {high:.3g}")
        values = np.rint(values.astype(np.float64) * 255)
    elif values.dtype != np.uint8:
        raise _wrong(name, f"numbers of type {values.dtype}")
    pixels = values.astype(np.uint8)
    return to_rgb(PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == _GREY else np.ascontiguousarray(pixels)))


def _wrong(name: str, got: str) -> DataError:
    return DataError(
        f"predict, {name}",
        expected="a path, a PIL image, an array [height, width] or [height, width, 3], or a tensor [3, height, width] "
        "or [n, 3, height, width]: uint8, or floats from 0 to 1 that are not normalised",
        got=got,
        next_step="convert it to one of these",
    )
