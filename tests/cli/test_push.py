"""`push` talks to the hub through huggingface_hub's own client; here the hub is a stand-in on this machine."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from lorastream import Learner

Command = Callable[..., Any]


class Hub(ThreadingHTTPServer):
    """The few answers of the hub's interface that a small upload asks for; no file is sent beside the commit."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.private = True
        self.status = 200

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        repository = f"{self.address}/me/letters"
        if path == "/api/repos/create":
            self.made.append(json.loads(body))
            return {"url": repository, "name": "me/letters", "id": "me/letters"}
        if path == "/api/models/me/letters/preupload/main":
            files = json.loads(body)["files"]
            told = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            return {"files": told}
        if path == "/api/models/me/letters/commit/main":
            lines = [json.loads(line)["value"] for line in body.splitlines()]
            self.files |= {line["path"]: base64.b64decode(line["content"]) for line in lines if "content" in line}
            return {"commitUrl": f"{repository}/commit/{'a' * 40}", "commitOid": "a" * 40, "success": True}
        if path == "/api/models/me/letters":
            return {"id": "me/letters", "private": self.private, "tags": [], "siblings": []}
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        raise AssertionError(path)


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def _answer(self) -> None:
        body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self._body()
        self.server.tokens.add(self.headers.get("Authorization"))
        content = json.dumps(self.server.answer(self.path, body) if self.server.status == 200 else {"error": "no"})
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    do_GET = do_POST = _answer  # noqa: N815 (the names that the library asks for)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's own name)
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Generator[Hub]:
    import huggingface_hub.constants

    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "a-token")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def model() -> Path:
    """Save a learner that knows three classes, as if it had learnt them."""
    learner = Learner("glyph_vit", "sd_lora")
    for names in (["alpha", "be|ta"], ["gamma"]):
        learner.model.grow(names)
        adapters = learner.model.adapt(("query", "value"))
        adapters.grow(2, generator=torch.Generator().manual_seed(1), up_std=0.05)
        adapters.freeze()
    return learner.save("model")


def test_files_and_a_card_arrive(lorastream: Command, model: Path, hub: Hub, files: Any) -> None:
    before = files()
    told = lorastream("push", model, "me/letters", "--private")
    assert (told.code, told.err) == (0, "")
    assert hub.made == [{"name": "letters", "organization": "me", "visibility": "private"}]
    assert hub.tokens == {"Bearer a-token"}
    assert {"README.md", "config.json", "model.safetensors", "classes.json", "preprocessing.json"} <= hub.files.keys()
    card = hub.files["README.md"].decode()
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: transformers\n")
    assert 'classify = pipeline("image-classification", model="me/letters")' in card
    assert "| 1 | alpha, be\\|ta |\n| 2 | gamma |" in card
    assert f"  {hub.address}/me/letters" in told.out.splitlines()
    assert files() == before


def test_another_target_and_json(lorastream: Command, model: Path, hub: Hub) -> None:
    told = lorastream("push", model, "me/letters", "--to", "peft", "--json")
    document = json.loads(told.out)
    assert (told.code, document["target"], document["private"]) == (0, "peft", False)
    assert "adapter_model.safetensors" in hub.files
    assert any("snapshot_download" in line for line in document["lines"])


def test_what_is_public_is_not_written_to_where_private_was_asked(lorastream: Command, model: Path, hub: Hub) -> None:
    hub.private = False
    told = lorastream("push", model, "me/letters", "--private")
    assert told.code == 2
    assert "one that is there already and public" in told.err
    assert not hub.files


@pytest.mark.parametrize(
    ("status", "code", "said"), [(401, 2, "hf auth login"), (403, 2, "hf auth login"), (400, 1, "400")]
)
def test_a_hub_that_refuses(status: int, code: int, said: str, lorastream: Command, model: Path, hub: Hub) -> None:
    hub.status = status
    told = lorastream("push", model, "me/letters")
    assert (told.code, told.out) == (code, "")
    assert said in told.err
    assert "Traceback" not in told.err


def test_a_hub_that_is_not_there(lorastream: Command, model: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert hub.address
    told = lorastream("push", model, "me/letters")
    assert told.code == 1
    assert "the same command again" in " ".join(told.err.split())


@pytest.mark.parametrize("name", ["letters", "me/let ters", "a/b/c", "me/--x"])
def test_a_name_that_is_none_is_refused_first(name: str, lorastream: Command, model: Path, files: Any) -> None:
    before = files()
    told = lorastream("push", model, name)
    assert told.code == 2
    assert "owner/name" in told.err
    assert files() == before
