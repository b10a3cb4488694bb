"""What a record keeps of confusion adds up, stays small, and survives the disk; an older record reads without it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from lorastream.metrics.calibration import reliability
from lorastream.runs import RunRecord, TaskResult, read, write
from lorastream.runs.answers import MOST_PAIRS, CalibrationRecord, ConfusionRecord


def test_by_hand() -> None:
    counts = np.array([[6, 1, 3, 0], [0, 10, 0, 0], [2, 0, 8, 0], [0, 0, 5, 5]])
    kept = ConfusionRecord.of(counts, [range(2), range(2, 4)])
    assert kept.tasks == ((17, 3), (2, 18))
    assert kept.images == (10, 10, 10, 10)
    assert kept.right == (6, 10, 8, 5)
    assert kept.pairs == ((3, 2, 5), (0, 2, 3), (2, 0, 2), (0, 1, 1))


def test_a_thousand_classes_stay_small() -> None:
    counts = np.random.default_rng(0).integers(0, 3, (1000, 1000))
    kept = ConfusionRecord.of(counts, [range(i, i + 10) for i in range(0, 1000, 10)])
    assert len(kept.pairs) == MOST_PAIRS
    assert sum(map(sum, kept.tasks)) == sum(kept.images) == counts.sum()
    assert len(kept.model_dump_json()) < 150_000


def test_a_record_keeps_those_of_the_last_evaluation_and_reads_without(tmp_path: Path) -> None:
    kept = ConfusionRecord.of(np.array([[1]]), [range(1)])
    calibration = CalibrationRecord.of(reliability([0.9, 0.6], [True, False]))
    record = RunRecord(recipe={})
    result = TaskResult(classes=("a",), n_train=1, n_test=1, accuracy=(1.0,), confusion=kept, calibration=calibration)
    write(record.with_task(result), tmp_path)
    again = read(tmp_path)
    assert again.confusion == kept
    assert again.calibration is not None
    assert again.calibration.reliability() == reliability([0.9, 0.6], [True, False])
    document = json.loads((tmp_path / "record.json").read_text())
    del document["confusion"], document["calibration"]
    (tmp_path / "record.json").write_text(json.dumps(document))
    assert read(tmp_path).confusion is None


@pytest.mark.parametrize(
    "damage", [{"tasks": ((1, 2),)}, {"right": (6, 11, 8, 5)}, {"right": (6,)}, {"pairs": ((0, 4, 1),)}]
)
def test_confusion_that_does_not_belong_together_is_refused(damage: dict[str, object]) -> None:
    counts = np.array([[6, 1, 3, 0], [0, 10, 0, 0], [2, 0, 8, 0], [0, 0, 5, 5]])
    whole = ConfusionRecord.of(counts, [range(2), range(2, 4)]).model_dump()
    with pytest.raises(ValidationError, match=r"(?s)confusion.*edited by hand"):
        ConfusionRecord.model_validate({**whole, **damage})


@pytest.mark.parametrize("damage", [{"images": (1,)}, {"accuracy": (None, None)}, {"confidence": (0.5, 0.9)}])
def test_bins_that_do_not_belong_together_are_refused(damage: dict[str, object]) -> None:
    whole = {"images": (0, 4), "confidence": (None, 0.9), "accuracy": (None, 0.75)}
    assert CalibrationRecord.model_validate(whole).reliability().error == pytest.approx(0.15)
    with pytest.raises(ValidationError, match=r"(?s)calibration.*edited by hand"):
        CalibrationRecord.model_validate({**whole, **damage})
