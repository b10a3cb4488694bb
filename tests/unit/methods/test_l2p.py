"""The pool of prompts: its loss by the formula, and who learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lorastream import methods
from lorastream.errors import MethodError
from lorastream.prompts import PromptPool


@pytest.mark.parametrize("queries", ["plain", "augmented"])
def test_the_loss_is_local_less_the_cosines_of_chosen_keys(trial: Any, queries: str) -> None:
    taught = trial("l2p", pool=4, top_k=2, length=3, key_weight=0.7, queries=queries).teach(1)
    task = taught.begin(1)
    batch, model = taught.batch(task), taught.model
    plain = next(iter(task.train.batches(len(batch)))).images.double()[batch.indices]
    query = F.normalize(model.backbone(plain if queries == "plain" else batch.images), dim=1)
    similar = query @ F.normalize(model.prompts.keys, dim=1).mT
    nearest = similar.topk(2, dim=1)
    tokens = torch.stack([torch.cat([model.prompts.prompts[i] for i in row]) for row in nearest.indices])
    features = model.backbone(batch.images, tokens=tokens, read="prompts")
    logits = features @ model.head.weights[1].mT + model.head.biases[1]
    expected = F.cross_entropy(logits, batch.labels - task.first_class) - 0.7 * nearest.values.sum(dim=1).mean()
    assert taught.loss(task).item() == pytest.approx(expected.item(), rel=1e-6)


def test_pool_keys_and_new_rows_learn(trial: Any) -> None:
    taught = trial("l2p").teach(1)
    taught.begin(1)
    learning = {name for name, p in taught.model.named_parameters() if p.requires_grad}
    assert learning == {"prompts.prompts", "prompts.keys", "head.weights.1", "head.biases.1"}


def test_the_pool_goes_on_from_task_to_task(trial: Any) -> None:
    taught = trial("l2p").teach(1)
    ended = taught.model.prompts_as(PromptPool).prompts.clone()
    taught.begin(1)
    assert torch.equal(taught.model.prompts.prompts, ended)


def test_more_prompts_than_the_pool_has_are_refused() -> None:
    with pytest.raises(MethodError, match=r"(?s)method\.top_k.*at most the number of prompts in the pool, 3"):
        methods.build("l2p", {"pool": 3})
