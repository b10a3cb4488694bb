"""Components: the loss with what keeps them apart, and who learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lorastream.prompts import PromptComponents


def test_the_loss_is_local_and_what_keeps_components_apart(trial: Any) -> None:
    taught = trial("coda_prompt", orthogonality=0.7, components=3).teach(1)
    task = taught.begin(1)
    batch, model = taught.batch(task), taught.model
    prompts = model.prompts_as(PromptComponents)
    plain = next(iter(task.train.batches(len(batch)))).images.double()[batch.indices]
    chosen = prompts(model.backbone(plain))
    features = model.backbone(batch.images, prefixes=chosen.prefixes)
    logits = features @ model.head.weights[1].mT + model.head.biases[1]
    apart = torch.zeros((), dtype=torch.float64)
    for rows in (prompts.prompts, prompts.keys, prompts.attentions):
        for block in range(2):
            table = torch.cat([own[:, block].flatten(start_dim=1) for own in rows])
            apart += (table @ table.mT - torch.eye(6, dtype=torch.float64)).square().mean()
    expected = F.cross_entropy(logits, batch.labels - task.first_class) + 0.7 * apart
    assert apart > 0
    assert taught.loss(task).item() == pytest.approx(expected.item(), rel=1e-6)


def test_new_components_and_new_rows_learn(trial: Any) -> None:
    taught = trial("coda_prompt").teach(1)
    taught.begin(1)
    learning = {name for name, p in taught.model.named_parameters() if p.requires_grad}
    own = {"prompts.prompts.1", "prompts.keys.1", "prompts.attentions.1"}
    assert learning == {*own, "head.weights.1", "head.biases.1"}


def test_a_prefix_has_as_many_keys_as_values_in_the_first_blocks(trial: Any) -> None:
    taught = trial("coda_prompt", components=2, length=3, blocks=1)
    taught.begin(0)
    assert taught.model.prompts.blocks == (0,)
    assert taught.model.prompts.prompts[0].shape == (2, 1, 2, 3, 32)
