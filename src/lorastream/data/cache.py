"""Decoded and resized images, kept on disk once and read through memory mapping.

One file holds the pixels of all images one after another, then the table of their sizes, then a trailer that says how
long both are and what they hash to: the same for the same pixels, wherever they came from. It is written under a
temporary name and renamed when whole, so a file that is there is whole or is found out by its length and made again.
Processes that make the same file at once each write their own and the last name wins.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from lorastream.data.images import Images, fingerprint_of
from lorastream.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]
Progress = Callable[[int, int], None]

_TRAILER = struct.Struct("<8sQQ16sQ")  # format, images, bytes of pixels, hash of all, CRC-32 of sizes and hash
_FORMAT = b"LSPIX002"
_SUFFIX, _UNFINISHED = ".pixels", ".unfinished"
_ABANDONED_AFTER = 24 * 3600.0  # seconds after which an unfinished file is taken to be that of a killed process
_CHUNK = 256  # images decoded before any is written: bounds memory


class FixedTransform(Protocol):
    """The deterministic first step of a transform, from a decoded image to the pixels to keep."""

    @property
    def description(self) -> str:
        """Another transform has another description: the cache is keyed by it."""
        ...

    def __call__(self, image: PIL.Image.Image, /) -> Pixels:
        """Return uint8 pixels `[height, width, 3]`; called from several threads."""
        ...


class PixelStore:
    """The pixels of n images, each of its own size, in one memory-mapped file.

    Attributes:
        path: of the file.
        content: 32 hexadecimal digits that change with any pixel, and with nothing else.
    """

    def __init__(self, path: Path, pixels: Pixels, sizes: NDArray[np.int64], content: str) -> None:
        self.path = path
        self.content = content
        self._pixels = pixels
        self._sizes = sizes
        self._ends = np.cumsum(3 * sizes.prod(axis=1))

    @classmethod
    def open(cls, path: Path) -> PixelStore | None:
        """Open a file that `materialise` wrote; None where it is missing, torn or of another format."""
        try:
            content = np.memmap(path, dtype=np.uint8, mode="r")
        except (FileNotFoundError, NotADirectoryError, ValueError):  # an empty file cannot be mapped
            return None
        if len(content) < _TRAILER.size:
            return None
        form, n_images, n_bytes, digest, checksum = _TRAILER.unpack(content[-_TRAILER.size :].tobytes())
        if form != _FORMAT or len(content) != n_bytes + 8 * n_images + _TRAILER.size:
            return None
        table = content[n_bytes : n_bytes + 8 * n_images].tobytes()
        sizes = np.frombuffer(table, dtype="<u4").astype(np.int64).reshape(-1, 2)
        if zlib.crc32(table + digest) != checksum or 3 * sizes.prod(axis=1).sum() != n_bytes:
            return None
        return cls(path, content[:n_bytes], sizes, digest.hex())

    def __len__(self) -> int:
        return len(self._sizes)

    def pixels(self, index: int) -> Pixels:
        """Return image `index` as it lies on disk: read-only, `[height, width, 3]`."""
        height, width = self._sizes[index].tolist()
        end = int(self._ends[index])
        return self._pixels[end - 3 * height * width : end].reshape(height, width, 3)

    def __getitem__(self, index: int) -> Tensor:
        """Return a copy of image `index`, uint8 `[3, height, width]`."""
        import torch

        return torch.from_numpy(self.pixels(index).transpose(2, 0, 1).copy())


def cache_folder() -> Path:
    """Return the folder of the cache: the environment's LORASTREAM_CACHE, else `~/.cache/lorastream`."""
    named = os.environ.get("LORASTREAM_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "lorastream"


def materialise(
    images: Images, fixed: FixedTransform, *, folder: Path | None = None, progress: Progress | None = None
) -> PixelStore:
    """Return the images decoded and transformed, from the cache where they are in it.

    Args:
        images: what to decode; their fingerprint is part of the key.
        fixed: applied to every image; its description is part of the key.
        folder: of the cache; None for `cache_folder()`.
        progress: told the number of images done and of all, after each one.

    Raises:
        DataError: an image is broken; nothing half-made stays.
        RunError: the cache cannot be written.
    """
    folder = cache_folder() if folder is None else folder
    path = folder / f"{fingerprint_of(images.fingerprint, str(len(images)), fixed.description, _FORMAT)}{_SUFFIX}"
    if (store := PixelStore.open(path)) is not None:
        return store
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        _write(path, images, fixed, progress)
    except OSError as error:
        raise RunError(
            f"cache of decoded images, {folder}",
            expected="a folder that can be written, with room for the pixels",
            got=f"{type(error).__name__}: {error}",
            next_step="free some space, or name another folder in the environment variable LORASTREAM_CACHE",
        ) from error
    store = PixelStore.open(path)
    if store is None:
        raise RunError(
            str(path),
            expected="the file that was written a moment ago",
            got="it is gone or changed",
            next_step="see that nothing else clears the cache, and run again",
        )
    return store


def cache_size(folder: Path | None = None) -> int:
    """Return the bytes that cached images take up on disk."""
    return sum(file.stat().st_size for file in _files(folder))


def clear_cache(folder: Path | None = None) -> int:
    """Remove all cached images and return the bytes freed; a run that reads them keeps what it has open."""
    freed = 0
    for file in _files(folder):
        freed += file.stat().st_size
        file.unlink(missing_ok=True)
    return freed


def _files(folder: Path | None) -> list[Path]:
    folder = cache_folder() if folder is None else folder
    return [file for suffix in (_SUFFIX, _UNFINISHED) for file in folder.glob(f"*{suffix}")]


def _remove_abandoned(folder: Path) -> None:
    for file in folder.glob(f"*{_UNFINISHED}"):
        with suppress(FileNotFoundError):  # another process removes the same
            if time.time() - file.stat().st_mtime > _ABANDONED_AFTER:
                file.unlink()


def _write(path: Path, images: Images, fixed: FixedTransform, progress: Progress | None) -> None:
    handle, name = tempfile.mkstemp(prefix=path.stem, suffix=_UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            _write_content(file, images, fixed, progress)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write_content(file: BinaryIO, images: Images, fixed: FixedTransform, progress: Progress | None) -> None:
    sizes = np.zeros((len(images), 2), dtype="<u4")
    n_bytes = 0
    digest = hashlib.blake2b(digest_size=16)
    for i, pixels in enumerate(_decoded(images, fixed)):
        content = np.ascontiguousarray(pixels).data
        file.write(content)
        digest.update(content)
        sizes[i] = pixels.shape[:2]
        n_bytes += pixels.size
        if progress is not None:
            progress(i + 1, len(images))
    table = sizes.tobytes()
    digest.update(table)
    file.write(table)
    checksum = zlib.crc32(table + digest.digest())
    file.write(_TRAILER.pack(_FORMAT, len(images), n_bytes, digest.digest(), checksum))


def _decoded(images: Images, fixed: FixedTransform) -> Iterator[Pixels]:
    def one(i: int) -> Pixels:
        return fixed(images.read(i))

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(images), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(images)))
            yield from pool.map(one, chunk)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
