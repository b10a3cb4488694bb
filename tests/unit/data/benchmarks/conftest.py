"""Small benchmarks in the real layouts, and a server on this machine that breaks off when told to."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from lorastream.data.benchmarks import catalogue
from lorastream.data.benchmarks.catalogue import Benchmark, PublishedLists, RemoteFile

Files = Mapping[str, bytes]


def picture(shade: int) -> bytes:
    """Return a JPEG of one colour."""
    out = io.BytesIO()
    PIL.Image.new("RGB", (6, 5), (shade % 256, 7 * shade % 256, 90)).save(out, "JPEG")
    return out.getvalue()


def rendition_files() -> dict[str, bytes]:
    """Return ImageNet-R as its archive has it, with three classes of five images."""
    images = {f"imagenet-r/n{c:02}/art_{i}.jpg": picture(20 * c + i) for c in range(3) for i in range(5)}
    return {"imagenet-r/README.txt": b"three classes", **images}


def bird_files() -> dict[str, bytes]:
    """Return CUB-200-2011 as its archive has it: two classes, three images each, the third of each for testing."""
    paths = [f"{c:03}.Bird_{c}/Bird_{i}.jpg" for c in (1, 2) for i in (1, 2, 3)]
    lines = {
        "images.txt": [f"{n} {path}" for n, path in enumerate(paths, 1)],
        "train_test_split.txt": [f"{n} {int(n % 3 != 0)}" for n in range(1, 7)],
        "classes.txt": ["1 001.Bird_1", "2 002.Bird_2"],
    }
    texts = {f"CUB_200_2011/{name}": "\n".join(rows).encode() + b"\n" for name, rows in lines.items()}
    images = {f"CUB_200_2011/images/{path}": picture(9 * n) for n, path in enumerate(paths)}
    return {"attributes.txt": b"beside the folder, as in the archive", **texts, **images}


def cifar_files() -> dict[str, bytes]:
    """Return CIFAR-100's binary version with three classes: six records to learn from, three to test on."""

    def record(label: int, shade: int) -> bytes:
        planes = [np.full(1024, value, dtype=np.uint8).tobytes() for value in (shade, shade + 1, shade + 2)]
        return bytes([99, label]) + b"".join(planes)

    return {
        "cifar-100-binary/fine_label_names.txt": b"apple\naquarium_fish\nbaby\n\n",
        "cifar-100-binary/train.bin": b"".join(record(label, 10 * label) for label in (2, 0, 1, 1, 0, 2)),
        "cifar-100-binary/test.bin": b"".join(record(label, 100 + label) for label in (1, 2, 0)),
    }


def write_tar(path: Path, files: Files, mode: str = "w") -> Path:
    """Write a tar, plain or compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_zip(path: Path, files: Files) -> Path:
    """Write a zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def put(root: Path, files: Files) -> None:
    """Lay files out as if an archive had been unpacked."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def small(name: str, archive: bytes, **changes: object) -> Benchmark:
    """Return a benchmark of the catalogue made small, whose one archive has this content."""
    known = catalogue.find(name)
    (remote,) = known.archives
    md5 = hashlib.md5(archive, usedforsecurity=False).hexdigest()
    return replace(known, archives=(replace(remote, md5=md5),), **changes)


@dataclass(frozen=True)
class Kit:
    """What tests of several modules make."""

    picture: Callable[[int], bytes] = picture
    rendition_files: Callable[[], dict[str, bytes]] = rendition_files
    bird_files: Callable[[], dict[str, bytes]] = bird_files
    cifar_files: Callable[[], dict[str, bytes]] = cifar_files
    write_tar: Callable[..., Path] = write_tar
    write_zip: Callable[..., Path] = write_zip
    put: Callable[..., None] = put

    def rendition(self, folder: Path) -> tuple[Benchmark, Path]:
        """Return a small ImageNet-R and its archive."""
        archive = write_tar(folder / "imagenet-r.tar", rendition_files())
        return small("imagenet_r", archive.read_bytes(), n_classes=3, n_images=15, lists={}), archive

    def birds(self, folder: Path) -> tuple[Benchmark, Path]:
        """Return a small CUB-200-2011 and its archive."""
        archive = write_tar(folder / "CUB_200_2011.tgz", bird_files(), "w:gz")
        return small("cub200", archive.read_bytes(), n_classes=2, n_images=6, own_counts=(4, 2)), archive

    def cifar(self, folder: Path) -> tuple[Benchmark, Path]:
        """Return a small CIFAR-100 and its archive."""
        archive = write_tar(folder / "cifar-100-binary.tar.gz", cifar_files(), "w:gz")
        return small("cifar100", archive.read_bytes(), n_classes=3, n_images=9, own_counts=(6, 3)), archive

    def domains(self, folder: Path) -> tuple[Benchmark, list[Path]]:
        """Return a small DomainNet of two domains and two classes, its archives; its lists lie in `folder` too."""
        archives: list[Path] = []
        lists: dict[str, list[RemoteFile]] = {"train": [], "test": []}
        remotes: list[RemoteFile] = []
        for domain in ("clipart", "real"):
            paths = [f"{domain}/{name}/{domain}_{i}.jpg" for name in ("bee", "ant") for i in range(3)]
            extra = f"{domain}/bee/{domain}_unlisted.jpg"  # the archives hold more than the lists name
            archives.append(write_zip(folder / f"{domain}.zip", {p: picture(n) for n, p in enumerate([*paths, extra])}))
            remotes.append(
                RemoteFile(
                    path=f"domainnet/{domain}.zip", address="http://localhost:9/x", unpacks_to=f"domainnet/{domain}"
                )
            )
            # Not in the order of the alphabet: the order of classes is that of the labels.
            labelled = [f"{path} {int('/ant/' in path)}" for path in paths]
            for role, rows in (("train", labelled[::3] + labelled[1::3]), ("test", labelled[2::3])):
                put(folder, {f"domainnet/{domain}_{role}.txt": "\n".join(rows).encode()})
                lists[role].append(RemoteFile(path=f"domainnet/{domain}_{role}.txt", address="http://localhost:9/x"))
        official = PublishedLists(train=(*lists["train"],), test=(*lists["test"],), source="its makers", counts=(8, 4))
        known = catalogue.find("domainnet")
        made = replace(known, n_classes=2, n_images=12, archives=tuple(remotes), lists={"official": official})
        return made, archives


@pytest.fixture
def kit() -> Kit:
    """Return the makers of small benchmarks."""
    return Kit()


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, str]]:
    """Tell all that lies below a folder."""

    def look(root: Path) -> dict[str, str]:
        return {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "/"
            for path in sorted(root.rglob("*"))
        }

    return look


@dataclass
class Server:
    """A file on a server of this machine.

    Attributes:
        content: of the file.
        address: of the file.
        breaks: after how many bytes each of the next answers breaks off.
        ranges: whether it goes on where it is asked to.
        etag: of the content; None to give none.
        status: an error to answer with instead.
        asked: the Range header of each request.
    """

    content: bytes = b""
    address: str = ""
    breaks: list[int] = field(default_factory=list[int])
    ranges: bool = True
    etag: str | None = '"one"'
    status: int | None = None
    asked: list[str | None] = field(default_factory=list[str | None])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve a file on loopback."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.headers["Range"])
            if state.status is not None:
                self.send_error(state.status)
                return
            start = 0
            fits = self.headers["If-Range"] in {None, state.etag}
            if state.ranges and fits and self.headers["Range"]:
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                if start >= len(state.content):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}")
            if state.etag:
                self.send_header("ETag", state.etag)
            self.send_header("Content-Length", str(len(state.content) - start))
            self.end_headers()
            end = start + state.breaks.pop(0) if state.breaks else None
            self.wfile.write(state.content[start:end])

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{httpd.server_port}/file"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()
