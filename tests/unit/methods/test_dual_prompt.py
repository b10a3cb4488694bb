"""Prefixes by task: the loss by the formula, where they enter, and what a small backbone makes of the blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lorastream.prompts import TaskPrompts


def test_the_loss_is_local_less_the_cosine_of_the_tasks_key(trial: Any) -> None:
    taught = trial("dual_prompt", key_weight=0.7).teach(1)
    task = taught.begin(1)
    batch, model = taught.batch(task), taught.model
    prompts = model.prompts_as(TaskPrompts)
    plain = next(iter(task.train.batches(len(batch)))).images.double()[batch.indices]
    closeness = F.cosine_similarity(model.backbone(plain), prompts.keys[1][None], dim=1)
    rows = [own[0].expand(len(batch), -1, -1, -1) for own in (prompts.shared, prompts.prompts[1])]
    features = model.backbone(batch.images, prefixes={0: rows[0], 1: rows[1]})
    logits = features @ model.head.weights[1].mT + model.head.biases[1]
    expected = F.cross_entropy(logits, batch.labels - task.first_class) - 0.7 * closeness.mean()
    assert taught.loss(task).item() == pytest.approx(expected.item(), rel=1e-6)


def test_shared_own_and_new_rows_learn(trial: Any) -> None:
    taught = trial("dual_prompt").teach(1)
    taught.begin(1)
    learning = {name for name, p in taught.model.named_parameters() if p.requires_grad}
    own = {"prompts.shared", "prompts.prompts.1", "prompts.keys.1"}
    assert learning == {*own, "head.weights.1", "head.biases.1"}


@pytest.mark.parametrize(
    ("asked", "found"), [((2, 3), ((0,), (1,))), ((0, 1), ((), (0,))), ((0, 5), ((), (0, 1))), ((1, 1), ((0,), (1,)))]
)
def test_blocks_are_counted_from_the_input_and_the_task_has_one_at_least(trial: Any, asked: Any, found: Any) -> None:
    taught = trial("dual_prompt", shared_blocks=asked[0], task_blocks=asked[1])
    taught.begin(0)
    prompts = taught.model.prompts_as(TaskPrompts)
    assert (prompts.shared_blocks, prompts.task_blocks) == found
    assert prompts.prompts[0].shape == (len(found[1]), 2, 5, 32)


def test_after_the_task_its_key_answers(trial: Any) -> None:
    taught = trial("dual_prompt", key_weight=1.0).teach(1)
    model = taught.model
    images = taught.batch(taught.stream[0]).images
    rows = {0: model.prompts.shared[0], 1: model.prompts.prompts[0][0]}
    prefixes = {block: own.expand(len(images), -1, -1, -1) for block, own in rows.items()}
    torch.testing.assert_close(model.features(images), model.backbone(images, prefixes=prefixes))
