"""Heads that were never compared are made comparable by features drawn for every class; only the head moves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lorastream.heads import LinearHead
from lorastream.heads.alignment import Alignment
from lorastream.heads.full_covariance import FullCovariance
from lorastream.training.settings import AlignmentSettings

WIDTH = 8
SIZES = [2, 2, 2]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _classes() -> tuple[FullCovariance, Tensor, Tensor]:
    """Return the statistics of six classes, and features of theirs that were not used for it, with labels."""
    generator = _generator(0)
    centres = 2.5 * torch.randn(6, WIDTH, dtype=torch.float64, generator=generator)
    train, test = (
        [c + torch.randn(200, WIDTH, dtype=torch.float64, generator=generator) for c in centres] for _ in "ab"
    )
    statistics = FullCovariance()
    statistics.put(0, train)
    return statistics, torch.cat(test), torch.arange(6).repeat_interleave(200)


def _unfair_head(statistics: FullCovariance) -> LinearHead:
    """Return a head in float64 that is right within every task, and whose first task shouts down the others."""
    head = LinearHead(WIDTH)
    for size in SIZES:
        head.grow(size, generator=_generator(1), device=torch.device("cpu"))
    # Between the two means of a task, and times its loudness: nothing is known of other tasks' features.
    pairs = statistics.means.double().view(3, 2, WIDTH)
    away = pairs - pairs.mean(dim=1, keepdim=True)
    loud = torch.tensor([0.8, 0.1, 0.02], dtype=torch.float64)[:, None]
    weight = (loud[:, :, None] * away).view(6, WIDTH)
    bias = -(loud * (away * pairs.mean(dim=1, keepdim=True)).sum(dim=-1)).flatten()
    head.load_tensors({"weight": weight, "bias": bias}, SIZES)
    return head


def test_the_unfair_head_is_right_within_every_task() -> None:
    statistics, features, labels = _classes()
    logits = _unfair_head(statistics)(features)
    for task in range(3):
        own = labels // 2 == task
        right = logits[own, 2 * task : 2 * task + 2].argmax(dim=1) == labels[own] - 2 * task
        assert right.double().mean() > 0.97


def _accuracy(head: LinearHead, features: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (head(features).argmax(dim=1) == labels).double().mean().item()


def _aligned(**options: Any) -> tuple[LinearHead, float, float]:
    statistics, features, labels = _classes()
    head = _unfair_head(statistics)
    before = _accuracy(head, features, labels)
    Alignment(**options).align(head, statistics, SIZES, generator=_generator(2))
    return head, before, _accuracy(head, features, labels)


@pytest.mark.parametrize("logit_norm", ["per_task", "all", "none"])
def test_it_mends_heads_of_unequal_loudness(logit_norm: str) -> None:
    _, before, after = _aligned(logit_norm=logit_norm, lr=0.1, epochs=20)
    assert before < 0.4
    assert after > 0.99


def test_the_sources_settings_do_in_thirty_steps() -> None:
    _, before, after = _aligned()
    assert before < 0.4
    assert after > 0.95


def test_it_is_deterministic() -> None:
    first, second = (_aligned()[0].tensors() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_other_draws_give_another_head() -> None:
    statistics, _, _ = _classes()
    heads = [_unfair_head(statistics) for _ in range(2)]
    for seed, head in enumerate(heads):
        Alignment(epochs=1).align(head, statistics, SIZES, generator=_generator(seed))
    assert not torch.equal(heads[0].tensors()["weight"], heads[1].tensors()["weight"])


def test_rows_of_every_task_move_and_learn_again_as_before() -> None:
    statistics, _, _ = _classes()
    head = _unfair_head(statistics)
    head.learn(newest_only=True)
    before = head.tensors()
    Alignment(epochs=1).align(head, statistics, SIZES, generator=_generator(0))
    after = head.tensors()
    assert not torch.equal(after["bias"], before["bias"])
    assert all((own != old).any() for own, old in zip(after["weight"], before["weight"], strict=True))
    assert [p.requires_grad for p in head.weights] == [False, False, True]
    assert all(p.grad is None for p in head.parameters())


def test_it_learns_where_gradients_are_switched_off() -> None:
    statistics, _, _ = _classes()
    head = _unfair_head(statistics)
    before = head.tensors()["weight"]
    with torch.no_grad():
        Alignment(epochs=1).align(head, statistics, SIZES, generator=_generator(0))
    assert not torch.equal(head.tensors()["weight"], before)


def test_no_epochs_leave_the_head_as_it_was() -> None:
    head, before, after = _aligned(epochs=0)
    assert before == after
    assert torch.equal(head.tensors()["weight"], _unfair_head(_classes()[0]).tensors()["weight"])


def test_an_epoch_draws_as_many_of_every_class_and_shrinks_old_means() -> None:
    statistics, _, _ = _classes()
    features, labels = Alignment(samples_per_class=4000, mean_scale_first=0.4).draw(
        statistics, SIZES, generator=_generator(3)
    )
    assert labels.bincount().tolist() == [4000] * 6
    assert features.dtype == torch.float32
    for label, scale in enumerate([0.6, 0.6, 0.8, 0.8, 1.0, 1.0]):
        mean = features[labels == label].double().mean(dim=0)
        torch.testing.assert_close(mean, scale * statistics.means[label].double(), atol=0.1, rtol=0)


def test_a_class_of_one_image_can_be_aligned() -> None:
    statistics = FullCovariance()
    statistics.put(0, [-torch.ones(1, WIDTH), torch.ones(1, WIDTH)])
    head = LinearHead(WIDTH)
    for _ in range(2):
        head.grow(1, generator=_generator(0), device=torch.device("cpu"))
    Alignment(lr=0.1).align(head, statistics, [1, 1], generator=_generator(0))
    assert all(torch.isfinite(tensor).all() for tensor in head.tensors().values())
    assert _accuracy(head, torch.tensor([[-1.0] * WIDTH, [1.0] * WIDTH]), torch.tensor([0, 1])) == 1


def test_the_settings_have_the_same_defaults() -> None:
    """The settings are read without torch, so the two are written apart; whoever changes one is told here."""
    assert Alignment(**AlignmentSettings().model_dump(include=set(Alignment.__dataclass_fields__))) == Alignment()
