"""A small model of timm, made once, and its weights as files. Nothing here may ask the network for anything."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

TAG = "test_vit.r160_in1k"  # two blocks, width 64, 160 px: timm keeps it for tests


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> NoReturn:
        raise AssertionError(f"the network was asked: {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


@pytest.fixture(autouse=True)
def _same_weights() -> Generator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        yield


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Return the model with its classifier, as a checkpoint has it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return timm.create_model("test_vit").eval()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Write a state dict as safetensors, or as a plain state dict where the name says so."""

    def save(state: Mapping[str, Tensor] | Any, name: str = "weights.safetensors") -> Path:
        path = tmp_path / name
        if path.suffix == ".safetensors":
            save_file(dict(state), path)
        else:
            torch.save(state, path)
        return path

    return save
