"""A name or the options of one kind say which split is wanted; anything else is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorastream.data.benchmarks import catalogue
from lorastream.data.benchmarks.request import Drawn, Folders, Lists, Published, Request, Rule, settle_rule
from lorastream.errors import DataError

A, B = Path("a"), Path("b")


@pytest.mark.parametrize(
    ("benchmark", "request_", "name", "rule"),
    [
        ("imagenet_r", Request(), "seed0", Drawn(seed=0, test_fraction=0.2)),
        ("imagenet_a", Request(), "seed0", Drawn(seed=0, test_fraction=0.2)),
        ("cifar100", Request(), "official", Published(name="official")),
        ("cub200", Request(), "official", Published(name="official")),
        ("domainnet", Request(), "official", Published(name="official")),
        ("imagenet_r", Request(split="coda_prompt"), "coda_prompt", Published(name="coda_prompt")),
        ("imagenet_r", Request(split="seed7"), "seed7", Drawn(seed=7, test_fraction=0.2)),
        ("imagenet_r", Request(seed=7), "seed7", Drawn(seed=7, test_fraction=0.2)),
        ("imagenet_r", Request(split="seed0", seed=0), "seed0", Drawn(seed=0, test_fraction=0.2)),
        ("cub200", Request(test_fraction=0.3), "seed0-test0.3", Drawn(seed=0, test_fraction=0.3)),
        ("cub200", Request(split="mine", seed=2), "mine", Drawn(seed=2, test_fraction=0.2)),
        ("imagenet_a", Request(train_folder=A, test_folder=B), "folders", Folders(train=A, test=B)),
        ("imagenet_a", Request(split="pilot", train_folder=A, test_folder=B), "pilot", Folders(train=A, test=B)),
        ("domainnet", Request(train_lists=(A, B), test_lists=(B,)), "lists", Lists(train=(A, B), test=(B,))),
    ],
)
def test_what_is_asked_for(benchmark: str, request_: Request, name: str, rule: Rule) -> None:
    assert settle_rule(catalogue.find(benchmark), request_) == (name, rule)


@pytest.mark.parametrize(
    ("benchmark", "request_", "where"),
    [
        ("imagenet_r", Request(split="pilot"), "--split pilot"),
        ("cifar100", Request(split="seed3"), "--split seed3"),
        ("cifar100", Request(seed=3), "--seed or --test-fraction"),
        ("imagenet_r", Request(train_folder=A), "--train-folder, --test-folder"),
        ("imagenet_r", Request(test_lists=(A,)), "--train-list, --test-list"),
        ("imagenet_r", Request(seed=1, train_folder=A, test_folder=B), "the split"),
        ("imagenet_r", Request(test_fraction=1.0), "--test-fraction"),
        ("imagenet_r", Request(split="seed0", seed=1), "--split seed0"),
        ("cub200", Request(split="official", train_folder=A, test_folder=B), "--split official"),
    ],
)
def test_what_says_too_little_or_too_much(benchmark: str, request_: Request, where: str) -> None:
    with pytest.raises(DataError) as raised:
        settle_rule(catalogue.find(benchmark), request_)
    assert [fault.where for fault in raised.value.faults] == [where]


def test_all_faults_are_told_at_once() -> None:
    request = Request(test_fraction=2.0, train_folder=A, test_lists=(B,))
    with pytest.raises(DataError) as raised:
        settle_rule(catalogue.find("imagenet_r"), request)
    assert len(raised.value.faults) == 4
