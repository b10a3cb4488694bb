"""What the benchmarks measure with: bytes counted by hand, ways that take turns, ratios within a round."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch import Tensor, nn

import measuring
from measuring import Place, Timed, apart, kept_bytes, operations, precisions, ratio, take_turns


def test_saved_bytes_are_those_counted_by_hand() -> None:
    images = torch.randn(5, 4)
    network = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    # The first layer saves the images, the last its weight: both were there before. Tanh saves what it gives, which is
    # also what the last layer saves for its weight's gradient: one storage of 5 x 3 numbers.
    kept = kept_bytes(lambda: network(images).sum())
    assert kept.saved == 5 * 3 * 4
    assert kept.held == kept.saved + 4  # and the loss itself


class _Hiding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.hidden = inputs.clone()
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * ctx.hidden


def test_what_is_kept_past_autograd_is_alive_all_the_same() -> None:
    inputs = torch.randn(7, requires_grad=True)
    kept = kept_bytes(lambda: _Hiding.apply(inputs).sum())  # pyright: ignore[reportOptionalMemberAccess]
    assert kept.saved == 0
    assert kept.held == 7 * 4 + 4


def test_what_was_counted_is_let_go_again() -> None:
    """Also where an operation saves what it gives, its own history with it."""
    inputs = torch.randn(7, requires_grad=True)
    given: list[weakref.ref[Tensor]] = []

    def forward() -> Tensor:
        given.append(weakref.ref(found := inputs.tanh()))
        return found.sum()

    assert kept_bytes(forward).saved == 7 * 4
    gc.collect()
    assert given[0]() is None


def test_a_view_of_a_parameter_costs_nothing() -> None:
    weight = nn.Parameter(torch.randn(6, 3))
    inputs = torch.randn(2, 3, requires_grad=True)

    def forward() -> Tensor:
        return (inputs @ weight[:4].mT).sum()

    assert kept_bytes(forward).saved == 0


def test_ways_take_turns_and_every_second_round_goes_backwards() -> None:
    done: list[str] = []
    ways = {name: Timed(lambda n=name: done.append(n), lambda n=name: done.append(f"before {n}")) for name in "ab"}
    times = take_turns(ways, device="cpu", seconds=0.0, least=2, most=5)
    assert done == ["before a", "a", "before b", "b", "before b", "b", "before a", "a"]
    assert {name: len(taken) for name, taken in times.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_the_median_of_those_within_a_round() -> None:
    times = {"slow": [10.0, 40.0, 6.0], "fast": [5.0, 10.0, 6.0]}  # 2, 4, 1
    assert ratio(times, "slow", "fast") == 2.0


def test_operations_are_those_of_both_passes() -> None:
    left, right = torch.randn(3, 4, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    assert operations(lambda: (left @ right).sum().backward()) == 3 * (2 * 3 * 4 * 5)


@pytest.mark.parametrize(("coarse", "expected"), [(9.0, ["fp32"]), (0.5, ["fp32", "bf16"])])
def test_bf16_is_left_out_where_it_is_emulated(
    monkeypatch: pytest.MonkeyPatch, coarse: float, expected: list[str]
) -> None:
    monkeypatch.setattr(measuring, "_product_milliseconds", lambda kind, _: 1.0 if kind == torch.float32 else coarse)
    kinds, reason = precisions("cpu")
    assert kinds == expected
    assert ("9.0 ms in bf16" in reason) == (len(expected) == 1)


def test_a_gpu_is_asked_for_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(typer.BadParameter, match="no GPU"):
        Place(name="x", device="cuda")


def test_quick_figures_never_replace_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    whole, quick, card = Place(name="x"), Place(name="x", quick=True), Place(name="x", device="cuda")
    assert whole.path.name == quick.path.name == "x.json"
    assert whole.path.parent != quick.path.parent
    assert card.path == whole.path.parent / "x_cuda.json"


def test_a_run_of_its_own_kind_never_replaces_the_usual_figures(tmp_path: Path) -> None:
    usual = Place(name="memory", out=tmp_path).path
    small, other = (Place(name="memory", out=tmp_path, variant=apart(batch=n)).path for n in (1, 128))
    assert usual.name == "memory.json"
    assert {small.name, other.name} == {"memory_batch_1.json", "memory_batch_128.json"}
    assert apart(shape="vit_b_16", batch=8) == "vit_b_16_batch_8"
    assert apart(shape="vit_b_16", batch=8, whole=True) == "vit_b_16_batch_8_whole"
    assert apart(batch=32, loops=True) == "batch_32_loops"
    assert apart() == ""
