"""SD-LoRA-KD, item 11 of section 8 of the specification, and the ranks of SD-LoRA-RR.

A direction that is an exact combination of those stored is absorbed: with α_t = 1 the function is unchanged as the
paper writes it, with `preserving` for any α_t, and what was absorbed is still there when the next task begins.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lorastream import methods
from lorastream.methods.protocol import learnt_state, load_learnt_state

RANK = 2
MIX = (0.6, -1.5)
"""D_3 = MIX[0] D_1 + MIX[1] D_2, in directions at unit norm."""


def _unit(up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    return up / (up @ down).norm(), down


def _taught(trial: Any, *, mixed: tuple[float, float] | None = MIX, length: float = 1.0, **options: Any) -> Any:
    """Return a trial whose third task has just been trained, to `length` times a mix of the first two directions."""
    taught = trial("sd_lora", rank=(RANK, RANK, 2 * RANK), magnitude_init=1.0, **options)
    generator = torch.Generator().manual_seed(0)
    for index in range(3):
        task = taught.begin(index)
        for adapter in taught.model.adapters:
            factors = [_unit(up, down) for up, down in list(adapter.factors())[:2]]
            with torch.no_grad():
                adapter.up.normal_(generator=generator)
                # The first two see different inputs, so they stand at a right angle and any mix has the same norm.
                adapter.down[:, (slice(0, 16), slice(16, 32), slice(0, 0))[index]] = 0
                if index == 2 and mixed is not None:
                    up = torch.cat([m * u for m, (u, _) in zip(mixed, factors, strict=True)], dim=1)
                    adapter.up.copy_(length * up)
                    adapter.down.copy_(torch.cat([d for _, d in factors]))
        if index < 2:
            taught.method.after_task(taught.model, task)
    return taught


def _deltas(taught: Any) -> list[Tensor]:
    return [adapter.delta() for adapter in taught.model.adapters]


@pytest.mark.parametrize("absorb", ["joint", "per_projection"])
@pytest.mark.parametrize("normalise_current", [True, False])
def test_11_with_magnitude_one_the_papers_rule_keeps_the_function(
    trial: Any, absorb: str, normalise_current: bool
) -> None:
    """α_3 = 1 and D_3 at unit norm, so that α_k + β_k says exactly what D_3 said."""
    taught = _taught(trial, absorb=absorb, norm="exact", normalise_current=normalise_current)
    if not normalise_current:
        _make_unit(taught)
    before = _deltas(taught)
    taught.method.after_task(taught.model, taught.stream[2])
    assert taught.model.adapters.ranks == [RANK, RANK]
    torch.testing.assert_close(_deltas(taught), before, atol=1e-9, rtol=0)


def _make_unit(taught: Any) -> None:
    """Scale the live update of every projection to unit norm, as the paper has it."""
    with torch.no_grad():
        for adapter in taught.model.adapters:
            adapter.up.div_((adapter.up @ adapter.down).norm())


@pytest.mark.parametrize(
    ("absorb", "absorb_norm"),
    [("joint", "exact"), *(("per_projection", norm) for norm in ("exact", "product", "none"))],
)
@pytest.mark.parametrize("norm", ["exact", "product", "none"])
@pytest.mark.parametrize("magnitude", [1.0, 0.3, -2.0])
def test_11_preserving_keeps_the_function_for_any_magnitude(
    trial: Any, absorb: str, absorb_norm: str, norm: str, magnitude: float
) -> None:
    taught = _taught(trial, absorb=absorb, norm=norm, absorb_norm=absorb_norm, absorb_scale="preserving", length=0.7)
    with torch.no_grad():
        taught.method.magnitudes_[-1] = magnitude
    before = _deltas(taught)
    taught.method.after_task(taught.model, taught.stream[2])
    assert taught.model.adapters.ranks == [RANK, RANK]
    torch.testing.assert_close(_deltas(taught), before, atol=1e-9, rtol=0)


def test_the_papers_rule_does_not_keep_the_function_at_another_magnitude(trial: Any) -> None:
    taught = _taught(trial, absorb="joint", norm="exact", normalise_current=True)
    with torch.no_grad():
        taught.method.magnitudes_[-1] = 0.3
    before = _deltas(taught)
    taught.method.after_task(taught.model, taught.stream[2])
    assert any((one - other).abs().max() > 1e-3 for one, other in zip(before, _deltas(taught), strict=True))


def test_what_was_absorbed_survives_the_next_tasks_start(trial: Any) -> None:
    """α begins anew at 1; the direction's scale is (1 + β_k / n) / n_k, and β = MIX / n with n = ‖sum MIX_k D_k‖."""
    taught = _taught(trial, absorb="per_projection", norm="exact", normalise_current=True)
    norms = [(adapter.up @ adapter.down).norm().item() for adapter in taught.model.adapters]
    taught.method.after_task(taught.model, taught.stream[2])
    task = taught.stream[2]
    taught.model.class_names.clear(), taught.model.task_sizes.clear()
    taught.method.before_task(taught.model, task)
    for norm, adapter in zip(norms, taught.model.adapters, strict=True):
        lengths = [(up @ down).norm().item() for up, down in adapter.factors()][:2]
        expected = [(1 + mix / norm) / length for mix, length in zip(MIX, lengths, strict=True)]
        assert adapter.column_scale()[[0, RANK]].tolist() == pytest.approx(expected)


def test_what_was_absorbed_is_saved_with_the_method(trial: Any) -> None:
    taught = _taught(trial, absorb="joint", norm="exact", normalise_current=True)
    taught.method.after_task(taught.model, taught.stream[2])
    loaded = methods.build("sd_lora", {"absorb": "joint"})
    load_learnt_state(loaded, learnt_state(taught.method))
    assert torch.equal(loaded.absorbed_, taught.method.absorbed_)  # pyright: ignore[reportAttributeAccessIssue]
    assert taught.method.absorbed_.shape == (len(taught.model.adapters), 2)


def test_a_direction_of_its_own_is_kept_and_its_residual_reported(trial: Any) -> None:
    taught = _taught(trial, mixed=None, absorb="joint")
    taught.method.after_task(taught.model, taught.stream[2])
    figures = taught.method.figures(taught.model)
    assert figures["ranks"] == [RANK, RANK, 2 * RANK]
    assert figures["absorbed"] == {"projections": 0, "projections_so_far": 0, "bytes_saved": 0}
    joint, entries = figures["residuals"]["exact"], 4 * 32 * 32
    assert 0.9 * 2 < joint["fro"] <= 2.0, "four directions of norm one, nearly at right angles to the others"
    assert joint["fro2"] == pytest.approx(joint["fro"] ** 2)
    assert joint["rms"] == pytest.approx(joint["fro"] / math.sqrt(entries))
    assert joint["mse"] == pytest.approx(joint["fro2"] / entries)
    assert set(figures["residuals"]) == {"exact", "product", "none"}


@pytest.mark.parametrize(("reading", "value"), [("fro", 2.0), ("fro2", 4.0), ("rms", 2 / 64), ("mse", 4 / 4096)])
def test_the_threshold_is_compared_with_the_chosen_reading(trial: Any, reading: str, value: float) -> None:
    """Four directions of norm at most one in 4 · 32 · 32 entries: the residual is just below sqrt(4) and so on."""
    for factor, kept in ((1.0, 2), (0.8, 3)):
        taught = _taught(trial, mixed=None, absorb="joint", absorb_residual=reading, absorb_threshold=1e-12)
        taught.method.absorb_threshold = value * factor
        taught.method.after_task(taught.model, taught.stream[2])
        assert len(taught.model.adapters.ranks) == kept


def test_one_projection_may_drop_what_another_keeps(trial: Any) -> None:
    taught = _taught(trial, absorb="per_projection", absorb_scale="preserving")
    kept = next(iter(taught.model.adapters))
    with torch.no_grad():
        kept.down.normal_(generator=torch.Generator().manual_seed(3))
    before = _deltas(taught)
    taught.method.after_task(taught.model, taught.stream[2])
    ranks = [adapter.ranks for adapter in taught.model.adapters]
    assert ranks == [[RANK, RANK, 2 * RANK]] + [[RANK, RANK, 0]] * 3
    torch.testing.assert_close(_deltas(taught), before, atol=1e-9, rtol=0)
    figures = taught.method.figures(taught.model)
    assert figures["absorbed"] == {
        "projections": 3,
        "projections_so_far": 3,
        "bytes_saved": 3 * 2 * RANK * (32 + 32 + 1) * 8,
    }


def test_the_first_task_is_never_absorbed(trial: Any) -> None:
    taught = trial("sd_lora", absorb="joint", absorb_threshold=1e9).teach(1)
    assert len(taught.model.adapters.ranks) == 1


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("sd_lora", [10] * 10),
        ("sd_lora_rr", [10, 10, 10, 8, 8, 8, 8, 6, 6, 6]),
        ("sd_lora_rr_code", [10, 10, 10, 10, 8, 8, 8, 8, 6, 6]),
    ],
)
def test_ranks_of_ten_tasks(preset: str, expected: list[int]) -> None:
    """Paper: 10 for its tasks 1 to 3, 8 for 4 to 7, 6 from 8 on; code: one task later (specification 2.1)."""
    method: Any = methods.build(preset, {})
    assert [method.rank_of(task) for task in range(10)] == expected


@pytest.mark.parametrize(
    ("preset", "millions"),
    [
        ("sd_lora", (1.843, 3.686, 7.373)),
        ("sd_lora_rr", (1.696, 2.949, 5.161)),
        ("sd_lora_rr_code", (1.769, 3.097, 5.308)),
    ],
)
def test_stored_parameters_on_vit_base(preset: str, millions: tuple[float, ...]) -> None:
    """36,864 for each unit of rank: 12 blocks, 2 projections, 768 + 768 (the table of specification 2.1)."""
    method: Any = methods.build(preset, {})
    for n_tasks, expected in zip((5, 10, 20), millions, strict=True):
        stored = 12 * 2 * (768 + 768) * sum(method.rank_of(task) for task in range(n_tasks))
        assert stored / 1e6 == pytest.approx(expected, abs=5e-4)
