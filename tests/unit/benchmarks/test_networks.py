"""The ways that are compared compute the same from the same numbers, and the floor is what it says it is."""

from __future__ import annotations

import pytest
import torch

from measuring import kept_bytes
from networks import Setup, Shape, Step, floor, inf_lora, sd_lora, shapes
from released import inf_lora_loop, sd_lora_loop

TINY = Shape(name="vit_ti_16", timm_name="vit_tiny_patch16_224", depth=2, image_size=32, batch=2)
EXACT = Setup(shape=TINY, device="cpu", precision="fp32", kind=torch.float64)


def _taken(step: Step) -> tuple[float, list[torch.Tensor]]:
    step.refresh()
    loss = step.forward()
    loss.backward()
    return loss.item(), [t.grad for t in step.learning if t.grad is not None]


def _norms(gradients: list[torch.Tensor]) -> list[float]:
    return sorted(g.norm().item() for g in gradients if g.dim() == 2)


@pytest.mark.parametrize("tasks", [1, 4])
def test_the_released_sd_lora_is_ours_at_the_same_numbers(tasks: int) -> None:
    ours, our_gradients = _taken(sd_lora(EXACT, tasks)[1])
    loop, loop_gradients = _taken(sd_lora_loop(EXACT, tasks))
    assert ours == pytest.approx(loop, abs=1e-12)
    assert _norms(our_gradients) == pytest.approx(_norms(loop_gradients), rel=1e-9)
    magnitudes = torch.stack([g for g in loop_gradients if g.dim() == 0])
    mine = next(g for g in our_gradients if g.shape == magnitudes.shape)
    torch.testing.assert_close(mine, magnitudes, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("tasks", [1, 4])
def test_the_released_inf_lora_is_ours_at_the_same_numbers(tasks: int) -> None:
    ours, our_gradients = _taken(inf_lora(EXACT, tasks)[1])
    loop, loop_gradients = _taken(inf_lora_loop(EXACT, tasks))
    assert ours == pytest.approx(loop, abs=1e-12)
    assert _norms(our_gradients) == pytest.approx(_norms(loop_gradients), rel=1e-9)


def test_tasks_change_the_loss() -> None:
    """Or the comparisons above could not fail."""
    losses = {tasks: _taken(sd_lora(EXACT, tasks)[1])[0] for tasks in (1, 4)}
    assert abs(losses[1] - losses[4]) > 1e-6


def test_the_floor_passes_the_gradient_to_its_input_and_learns_a_head_alone() -> None:
    step = floor(EXACT)
    _, gradients = _taken(step)
    *head, images = step.learning
    assert [tuple(t.shape) for t in head] == [(10, 192), (10,)]
    assert images.shape == (2, 3, 32, 32)
    assert len(gradients) == 3
    assert gradients[-1].abs().sum() > 0


def test_nothing_flows_to_the_images_of_a_whole_network() -> None:
    whole = Shape(name="vit_ti_16", timm_name="vit_tiny_patch16_224", depth=12, image_size=32, batch=1)
    assert not Setup(shape=whole, device="cpu", precision="fp32").images().requires_grad
    assert EXACT.images().requires_grad


def test_saved_bytes_of_ours_are_the_same_at_any_number_of_tasks() -> None:
    for way in (sd_lora, inf_lora):
        kept = set()
        for tasks in (1, 2, 30):
            step = way(EXACT, tasks)[1]
            step.refresh()
            kept.add(kept_bytes(step.forward).saved)
        assert len(kept) == 1


def test_saved_bytes_of_the_released_sd_lora_grow() -> None:
    first, second, third = (kept_bytes(sd_lora_loop(EXACT, tasks).forward).saved for tasks in (2, 3, 4))
    assert third - second == second - first > 0


def test_only_a_shortened_network_says_so() -> None:
    described = [shape.described for shape in shapes("cpu", quick=False)]
    assert described == ["ViT-Ti/16, 224 px, batch 128", "ViT-B/16, 1 of 12 blocks, 224 px, batch 128"]
    assert all("blocks" not in shape.described for shape in shapes("cuda", quick=False))
