"""A plot is SVG that stands alone: the same records give the same bytes, with every run named and nothing fetched."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from lorastream.reports.plots import accuracy_over_tasks
from lorastream.runs.record import RunRecord, TaskResult


def _record(method: str, rows: list[tuple[float, ...]]) -> RunRecord:
    record = RunRecord(recipe={"name": "small", "method": {"name": method}})
    for t, row in enumerate(rows):
        result = TaskResult(classes=(f"class {t}",), n_train=4, n_test=10, accuracy=row)
        record = record.with_task(result)
    return record


FORGETS = _record("forgets", [(1.0,), (0.0, 1.0)])
KEEPS = _record("keeps", [(1.0,), (0.9, 0.8)])


def test_it_is_valid_and_names_every_run_with_its_final_accuracy() -> None:
    svg = accuracy_over_tasks([FORGETS, KEEPS])
    assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314 (we made it)
    assert "forgets: 50.0 % at the end" in svg
    assert "keeps: 85.0 % at the end" in svg
    assert "class 1" in svg


def test_the_same_records_give_the_same_bytes() -> None:
    assert accuracy_over_tasks([KEEPS]) == accuracy_over_tasks([KEEPS])
    assert accuracy_over_tasks([KEEPS]) != accuracy_over_tasks([FORGETS])


def test_nothing_is_fetched() -> None:
    svg = accuracy_over_tasks([KEEPS])
    assert "<image" not in svg
    assert "url(http" not in svg
