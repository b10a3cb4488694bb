"""Fetching a file so that a broken connection costs nothing: what came is kept beside it and gone on from.

`imagenet-r.tar.part` holds what came so far, `imagenet-r.tar.part.origin` which file of the server it is a part of
(address and ETag or date), so that parts of two files are never put together (RFC 9110, `Range` and `If-Range`).
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from lorastream.data.benchmarks.disk import Progress, no_progress, settle, write
from lorastream.errors import RunError

_CHUNK = 1 << 20
_SILENCE = 60.0  # seconds without a byte after which a connection counts as broken
_PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before trying again, while nothing comes
_WORTH_ANOTHER_TRY = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
)
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


class _BrokenOffError(ConnectionError):
    """The server closed the connection before the end."""


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """Which file of the server a part is of.

    Attributes:
        address: where it was fetched.
        validator: ETag or date of the server; None where it gave none, so that it cannot be gone on from.
        n_bytes: of the whole; None where the server did not say.
    """

    address: str
    validator: str | None
    n_bytes: int | None


def download(
    address: str, target: Path, *, progress: Progress = no_progress, pause: Callable[[float], None] = time.sleep
) -> None:
    """Fetch a file, going on from what an earlier try left.

    Args:
        address: http or https.
        target: where to; its folder is made where it is missing.
        progress: told how many bytes are there.
        pause: waits so many seconds between tries.

    Raises:
        RunError: the server does not answer, does not have it, or breaks off again and again; or there is no room.
            What came is kept beside the target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _go_on(address, part, lambda done, total: progress(f"fetching {target.name}", done, total))
            break
        except _NETWORK as error:
            failures = 0 if _size(part) > before else failures
            if not _may_pass(error) or failures == len(_PAUSES):
                raise _failed(address, target, part, error) from error
            pause(_PAUSES[failures])
            failures += 1
    settle(part, target)
    _origin_file(part).unlink(missing_ok=True)


def _go_on(address: str, part: Path, progress: Callable[[int, int | None], None]) -> None:
    origin = _read_origin(part)
    start = _size(part)
    if origin is None or origin.address != address or origin.validator is None:
        start = 0
    elif start and start == origin.n_bytes:
        return  # only its name was missing
    try:
        response = _ask(address, start, origin)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)  # more than the server has: it begins again
        raise
    with response:
        start = start if _continues(response, start) else 0
        whole = _whole_size(response, start)
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if validator and validator.startswith("W/"):
            validator = response.headers.get("Last-Modified")
        _check_room(part, (whole or start) - start)
        write(_origin_file(part), json.dumps(asdict(_Origin(address=address, validator=validator, n_bytes=whole))))
        _receive(response, part, start, whole, progress)


def _ask(address: str, start: int, origin: _Origin | None) -> Any:  # noqa: ANN401 (urllib does not type what it returns)
    if not address.startswith(("http://", "https://")):
        raise urllib.error.URLError(f"no http address: {address}")
    headers = {"User-Agent": "lorastream", "Accept-Encoding": "identity"}
    if start and origin is not None and origin.validator is not None:
        headers |= {"Range": f"bytes={start}-", "If-Range": origin.validator}
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 (http only, checked above)
    return urllib.request.urlopen(request, timeout=_SILENCE)  # noqa: S310 (the same)  # nosec B310


def _continues(response: Any, start: int) -> bool:  # noqa: ANN401
    """Whether the server goes on where we asked it to; else it sends the whole file."""
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        return False
    told = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if told is None or int(told.group(1)) != start:
        raise http.client.HTTPException(f"asked for bytes from {start}, got {response.headers.get('Content-Range')}")
    return True


def _whole_size(response: Any, start: int) -> int | None:  # noqa: ANN401
    length = response.headers.get("Content-Length")
    return None if length is None else start + int(length)


def _receive(
    response: Any,  # noqa: ANN401
    part: Path,
    start: int,
    whole: int | None,
    progress: Callable[[int, int | None], None],
) -> None:
    done = start
    with part.open("ab" if start else "wb") as file:
        progress(done, whole)
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            progress(done, whole)
    if whole is not None and done != whole:
        raise _BrokenOffError(f"the connection ended after {done:,} of {whole:,} bytes")


def _check_room(part: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if n_bytes > free:
        raise RunError(
            str(part.parent),
            expected=f"room for {n_bytes:,} bytes more",
            got=f"{free:,} bytes free",
            next_step="free some space or name another folder with --root",
        )


def _may_pass(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _WORTH_ANOTHER_TRY or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR
    return True


def _failed(address: str, target: Path, part: Path, error: Exception) -> RunError:
    kept = _size(part)
    again = f"run the same again: it goes on from the {kept:,} bytes in {part.name}" if kept else "check the network"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    code = f"HTTP {error.code}: " if isinstance(error, urllib.error.HTTPError) else ""
    return RunError(
        address,
        expected=f"the file {target.name}",
        got=f"{code}{reason}" if str(reason) else type(error).__name__,
        next_step=f"{again}; or fetch it with a browser and give it with --archive",
    )


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _origin_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.origin")


def _read_origin(part: Path) -> _Origin | None:
    try:
        return _Origin(**json.loads(_origin_file(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
