"""A class that goes takes with it what prompts are chosen by; one that comes again keeps its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lorastream import Learner
from lorastream.prompts import RoutedPrompts
from lorastream.visits.forget import without_class

Draw = Callable[..., Path]
Make = Callable[..., Learner]


def _routed(learner: Learner) -> RoutedPrompts:
    return learner.model.prompts_as(RoutedPrompts)


def test_a_forgotten_class_leaves_no_row_behind(draw: Draw, make: Make, tmp_path: Path) -> None:
    learner = make("prompt_routing")
    learner.learn(draw("a", 4, "cat", "dog"))
    learner.learn(draw("b", 4, "owl"))
    learner.save(tmp_path / "model")
    before = _routed(learner)
    left = [learner.class_names.index(name) for name in ("cat", "owl")]
    _, parts = without_class(tmp_path / "model", learner.class_names.index("dog"))
    prompts: dict[str, Any] = parts["prompts"]
    assert prompts["routed/tasks"].tolist() == [0, 1]
    assert torch.equal(prompts["routed/weight"], before.weight[left])
    described = {name: rows for name, rows in prompts.items() if name.startswith("routed/described/")}
    assert described
    assert {len(rows) for rows in described.values()} == {2}


def test_a_class_that_comes_again_is_found_where_it_was(draw: Draw, make: Make) -> None:
    learner = make("prompt_routing")
    learner.learn(draw("a", 4, "cat", "dog"))
    learner.learn(draw("b", 4, "owl", "cat"), same_class="merge")
    learner.learn(draw("c", 4, "ant"))
    assert len(learner.class_names) == 4
    tasks = dict(zip(learner.class_names, _routed(learner).tasks.tolist(), strict=True))
    assert tasks == {"cat": 0, "dog": 0, "owl": 1, "ant": 2}
