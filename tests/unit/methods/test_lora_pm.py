"""A task is learnt with its update perturbed from step to step, and merged by the share that suits all tasks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lorastream import methods
from lorastream.methods.fisher import fisher_information
from lorastream.methods.protocol import learnt_state, load_learnt_state


def _factors(taught: Any, steps: int) -> list[float]:
    task, found = taught.begin(0), list[float]()
    for _ in range(steps):
        found.append(float(taught.method.factor_))
        taught.method.after_step(taught.model, task)
    return found


def test_a_step_in_three_is_too_far_one_too_short_and_one_as_it_is(trial: Any) -> None:
    found = _factors(trial("lora_pm", rank=2, perturbation=0.25), 300)
    assert set(found) == {0.75, 1.0, 1.25}
    assert all(70 < found.count(factor) < 130 for factor in set(found))
    assert _factors(trial("lora_pm", rank=2, perturbation=0.25), 300) == found


def test_the_update_is_multiplied_while_it_learns_and_no_longer(trial: Any) -> None:
    taught = trial("lora_pm", rank=2).teach(1)
    before = [adapter.delta() for adapter in taught.model.adapters]
    taught.begin(1)
    for factor in (0.5, 1.0, 1.5):
        taught.method.factor_ = torch.tensor(factor)
        for adapter, past in zip(taught.model.adapters, before, strict=True):
            with torch.no_grad():
                adapter.up.fill_(0.1)
            torch.testing.assert_close(adapter.delta(), past + factor * (adapter.up @ adapter.down).detach())
    taught.model.adapters.scale_by(None)
    taught.model.adapters.freeze()
    for adapter in taught.model.adapters:
        assert adapter.scale.tolist() == [1.0, 1.0]


def test_what_is_merged_is_the_share_of_the_formula(trial: Any) -> None:
    taught = trial("lora_pm", rank=2).teach(1)
    assert float(taught.method.share_) == 1.0
    first = {name: adapter.delta() for name, adapter in taught.model.adapters.items()}
    fisher = {name: own.clone() for name, own in taught.method.fisher_.items()}
    assert all(not slope.any() for slope in taught.method.slope_.values())
    seen: dict[str, torch.Tensor] = {}
    fold = taught.model.adapters.freeze

    def freeze() -> None:
        fold()
        seen.update({name: adapter.delta() - first[name] for name, adapter in taught.model.adapters.items()})
        seen.update({f"F {name}": own for name, own in fisher_information(taught.model, task, "data").items()})

    task = taught.begin(1)
    taught.model.adapters.freeze = freeze
    taught.end(task)
    # At the first task's merged weight its own loss is least: the past's slope is 0 there.
    new = sum(float((seen[f"F {name}"] * seen[name] ** 2).sum()) for name in first)
    old = sum(float((fisher[name] * seen[name] ** 2).sum()) for name in first)
    share = new / (new + old)
    assert 0 < share < 1
    assert float(taught.method.share_) == pytest.approx(share)
    assert taught.method.figures(taught.model) == {"merged_share": pytest.approx(share)}
    for name, adapter in taught.model.adapters.items():
        torch.testing.assert_close(adapter.delta(), first[name] + share * seen[name])
        torch.testing.assert_close(taught.method.fisher_[name], fisher[name] + seen[f"F {name}"])
        assert adapter.ranks == []


def test_what_it_keeps_does_not_grow_with_the_tasks_and_goes_through_saving(trial: Any) -> None:
    taught = trial("lora_pm", rank=2).teach(1)
    once = sum(tensor.nbytes for tensor in learnt_state(taught.method).values())
    taught.end(taught.begin(1))
    state = learnt_state(taught.method)
    assert sum(tensor.nbytes for tensor in state.values()) == once
    loaded: Any = methods.build("lora_pm", {"rank": 2})
    load_learnt_state(loaded, state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in learnt_state(loaded).items())
    assert learnt_state(loaded).keys() == state.keys()


def test_without_perturbation_every_step_is_as_it_is(trial: Any) -> None:
    assert set(_factors(trial("lora_pm", rank=2, perturbation=0.0), 20)) == {1.0}
