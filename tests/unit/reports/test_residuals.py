"""A residual is absorbed at the published threshold or not; the table says where it always is, never, or sometimes."""

from __future__ import annotations

from typing import Any

from lorastream.reports import residuals_markdown
from lorastream.runs import RunRecord, TaskResult


def record(*residuals: dict[str, Any]) -> RunRecord:
    made = RunRecord(recipe={"name": "digits", "method": {"name": "sd_lora_kd"}})
    for t, found in enumerate(({}, *residuals)):
        figures: dict[str, Any] = {"residuals": found} if found else {}
        row = (0.5,) * (t + 1)
        made = made.with_task(TaskResult(classes=(f"{t}",), n_train=8, n_test=10, accuracy=row, figures=figures))
    return made


def test_each_reading_has_its_range_and_says_whether_it_decides() -> None:
    text = residuals_markdown(
        [
            record({"exact": {"fro": 4.0, "rms": 5e-3}, "none": {"rms": 8e-4}}, {"none": {"rms": 2e-3}}),
            record({"exact": {"fro": 5.0, "mse": 1e-6}, "none": {"rms": 9e-4}}),
        ]
    )
    exact, product, none = text.splitlines()[2:]
    assert exact == "| ‖U D‖ | 4 to 5: never | - | 0.005 to 0.005: never | 1e-06 to 1e-06: always |"
    assert product == "| ‖U‖ ‖D‖ | - | - | - | - |"
    assert none == "| nothing | - | - | 0.0008 to 0.002: 2 of 3 | - |"
