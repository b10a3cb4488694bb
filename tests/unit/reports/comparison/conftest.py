"""Runs made of a few numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lorastream.runs.record import BackboneRecord, DatasetRecord, RunRecord, TaskResult


def _made(
    method: str = "sd_lora",
    seed: int = 0,
    accuracy: float | None = 0.5,
    *,
    recipe: str = "small",
    training: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    fingerprint: str = "aaaaaaaa",
    sha256: str = "bbbbbbbb",
    classes: tuple[str, ...] = ("one",),
    status: Any = "finished",
    **changes: Any,
) -> RunRecord:
    document = {
        "name": recipe,
        "seed": seed,
        "data": {"source": "digits", "root": changes.pop("root", "/here")},
        "stream": {"tasks": 1, "order_seed": changes.pop("order_seed", None)},
        "method": {"name": method, **(options or {})},
        "training": {"epochs": 3, "batch_size": 8, "lr": 0.1, **(training or {})},
    }
    failure = changes.pop("failure", None)
    record = RunRecord(
        recipe=document,
        seed=seed,
        backbone=BackboneRecord(name="tiny", sha256=sha256),
        dataset=DatasetRecord(name="digits", fingerprint=fingerprint),
        tasks=(classes,),
        **changes,
    )
    if status != "running" or accuracy is not None:
        n_test = 0 if accuracy is None else 10
        result = TaskResult(
            classes=classes, n_train=4, n_test=n_test, accuracy=(accuracy,), seconds=2.0, stored_bytes=8
        )
        record = record.with_task(result)
    return record if status == "running" else record.ended(status, failure=failure)


@pytest.fixture
def made() -> Callable[..., RunRecord]:
    """Make a run of one task."""
    return _made
