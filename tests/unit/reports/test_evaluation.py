"""What is shown of an evaluation is cut to 80 columns and few rows, and says what was left out."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from lorastream.reports.evaluation import shown


def _document(n_classes: int = 300, **changes: Any) -> dict[str, Any]:
    names = [f"a rather long name of class number {i}" for i in range(n_classes)]
    tasks = [names[first : first + 10] for first in range(0, n_classes, 10)]
    return {
        "images": 1234,
        "accuracy": 0.5,
        "expected_calibration_error": 0.0123,
        "is_calibrated": True,
        "tasks": [
            {"task": i + 1, "classes": own, "images": 9, "accuracy": 0.5, "task_restricted_accuracy": 1.0}
            for i, own in enumerate(tasks)
        ],
        "classes": [{"name": name, "images": 3, "accuracy": i / 300} for i, name in enumerate(names)],
        "confused": [{"class": names[0], "taken_for": name, "images": 2} for name in names[1:]],
        "history": {
            "measured_on": "the same pictures",
            "accuracies": {names[0]: []},
            "hurt": [{"name": n, "learnt_in": 1, "then": 0.9, "now": 0.1, "worst_step": 7} for n in names],
        },
        "confusion": {"classes": names},
        "skipped": [],
        **changes,
    }


def _text(document: dict[str, Any], *, quiet: bool = False) -> str:
    console = Console(width=80, record=True, file=None, quiet=False)
    with console.capture() as captured:
        for part in shown(document, quiet=quiet):
            console.print(part)
    return captured.get()


def test_three_hundred_classes_fit() -> None:
    lines = _text(_document()).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 100
    assert [line for line in lines if "--json has all" in line] == [
        "... 10 more: --json has all",
        "... 290 more: --json has all",
        "... 290 more: --json has all",
    ]


def test_the_headline_is_all_where_it_is_to_be_quiet() -> None:
    said = "50.0 % of 1,234 pictures right, among 300 classes; expected calibration error 1.2 points."
    assert " ".join(_text(_document(), quiet=True).split()) == said


def test_a_single_task_has_no_table_of_tasks() -> None:
    assert "with the" not in _text(_document(10))


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ({"measured_on": "x", "accuracies": {}, "hurt": []}, "tells no accuracies"),
        ({"measured_on": "x", "accuracies": {"a": []}, "hurt": []}, "No class is worse than when it was learnt (on x)"),
        (
            {
                "measured_on": "held-out images",
                "accuracies": {"a": []},
                "hurt": [{"name": "a", "learnt_in": 1, "then": 0.9, "now": 0.1, "worst_step": None}],
            },
            "add --history",
        ),
    ],
)
def test_what_the_history_tells(history: dict[str, Any], said: str) -> None:
    assert said in " ".join(_text(_document(10, history=history)).split())


def test_what_was_left_out_and_what_was_never_calibrated_is_told() -> None:
    told = _text(_document(10, skipped=[f"{i}.png: torn" for i in range(9)], is_calibrated=False, confused=[]))
    assert "9 left out, as they cannot be decoded:\n  0.png: torn" in told
    assert "... 4 more" in told
    assert "never calibrated" in " ".join(told.split())
    assert "No class was taken for another." in told
