"""Weights are read without running code, cast up, and compared by name and shape before any is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lorastream.backbones.weights import check_fits, read_state_dict
from lorastream.errors import BackboneError

STATE = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([1.0, -1.0])}


class Harmful:
    """What a pickle could do when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("harm"),)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.bin"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_precision_is_read_as_float32(saved: Callable[..., Path], name: str, dtype: torch.dtype) -> None:
    read = read_state_dict(saved({key: tensor.to(dtype) for key, tensor in STATE.items()}, name))
    assert read.keys() == STATE.keys()
    assert all(read[key].dtype == torch.float32 and torch.equal(read[key], STATE[key]) for key in STATE)


def test_whole_numbers_stay_whole(saved: Callable[..., Path]) -> None:
    assert read_state_dict(saved({"index": torch.tensor([1, 2])}))["index"].dtype == torch.int64


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "module"])
def test_a_state_dict_inside_a_training_checkpoint_is_found(saved: Callable[..., Path], key: str) -> None:
    read = read_state_dict(saved({key: STATE, "epoch": 3, "lr": 0.1}, "checkpoint.pth"))
    assert read.keys() == STATE.keys()


def test_a_pickle_with_code_in_it_is_refused_and_the_code_not_run(
    saved: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved({"weight": STATE["weight"], "more": Harmful()}, "weights.pth")
    with pytest.raises(BackboneError, match="could run code"):
        read_state_dict(path)
    assert not (tmp_path / "harm").exists()


def test_a_whole_model_is_refused(saved: Callable[..., Path]) -> None:
    with pytest.raises(BackboneError, match="could run code"):
        read_state_dict(saved(nn.Linear(2, 2), "model.pth"))


def test_a_list_is_no_state_dict(saved: Callable[..., Path]) -> None:
    with pytest.raises(BackboneError, match=r"(?s)names with tensors.*got: +list"):
        read_state_dict(saved([STATE["weight"]], "list.pth"))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused_with_its_path(saved: Callable[..., Path], name: str, part: float) -> None:
    path = saved(STATE, name)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(BackboneError, match=name):
        read_state_dict(path)


@given(content=st.binary(max_size=40))
def test_any_other_bytes_are_refused_by_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    for name in ("junk.pth", "junk.safetensors"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(content)
        with pytest.raises(BackboneError, match=name):
            read_state_dict(path)


@pytest.mark.parametrize("content", [b"us\x02PrauKa", b"\x80.Kqa.", b"X", b"h\\\xab"])
def test_bytes_that_torch_trips_over_are_refused_alike(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "junk.pth"
    path.write_bytes(content)
    with pytest.raises(BackboneError, match=r"junk\.pth"):
        read_state_dict(path)


def test_weights_that_fit_pass() -> None:
    check_fits(nn.Linear(3, 2), STATE, where="here")
    check_fits(nn.Linear(3, 2), {**STATE, "head.weight": torch.zeros(1)}, where="here", ignore=("head.",))


def test_all_that_does_not_fit_is_counted_and_one_of_each_named() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    state = {"0.weight": torch.zeros(2, 4), "0.bias": torch.zeros(2), "2.weight": torch.zeros(1)}
    with pytest.raises(BackboneError) as caught:
        check_fits(network, state, where="backbone.weights, w.pth")
    (fault,) = caught.value.faults
    assert fault.where == "backbone.weights, w.pth"
    assert fault.expected == "weights of Sequential with 4 tensors"
    assert fault.got == (
        "2 missing (1.weight, ...); 1 left over (2.weight, ...); 1 of another shape (0.weight is (2, 4), not (2, 3))"
    )
