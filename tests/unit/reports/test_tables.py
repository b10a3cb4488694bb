"""Tables fit the terminal, hold the record's figures, and stay readable for no task, one, and many."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Sequence

import pytest
from rich.console import Console, RenderableType

from lorastream.reports import accuracy_matrices, closing_line, summary_table
from lorastream.runs import RunRecord, TaskResult

HAND = [[0.9], [0.6, 0.8], [0.7, 0.9, 0.5]]


def record(
    rows: Sequence[Sequence[float | None]], *, method: str = "sd_lora", seed: int = 0, status: str = "finished"
) -> RunRecord:
    """A record of tasks of two one-letter classes, 1 s each."""
    made = RunRecord(recipe={"name": "digits", "seed": seed, "method": {"name": method}}, seed=seed, status=status)
    for t, row in enumerate(rows):
        n_test = 0 if row[-1] is None else 10
        made = made.with_task(
            TaskResult(
                classes=(chr(97 + 2 * (t % 13)), chr(98 + 2 * (t % 13))), n_train=8, n_test=n_test, accuracy=tuple(row),
                task_restricted_accuracy=tuple(row), seconds=1.0, trainable_parameters=368_661, stored_bytes=1_234_567,
            )
        )  # fmt: skip
    return made


def square(n_tasks: int, value: float = 0.5) -> list[list[float | None]]:
    return [[value] * (t + 1) for t in range(n_tasks)]


def shown(renderable: RenderableType, *, width: int = 80, colour: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
        legacy_windows=False,
    )
    console.print(renderable)
    text = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= width for line in text.splitlines())
    return text


def test_two_matrices_of_five_tasks_stand_side_by_side_in_80_columns() -> None:
    text = shown(accuracy_matrices([record(square(5, 1.0), method="sequential_lora"), record(square(5, 1.0))]))
    lines = text.splitlines()
    assert "sequential_lora, seed 0" in lines[0]
    assert "sd_lora, seed 0" in lines[0].replace("sequential_lora, seed 0", "")
    assert lines[-1].split() == ["5", *["100.0"] * 5] * 2
    assert "a b" in text


def test_matrices_stack_in_a_narrow_terminal() -> None:
    text = shown(accuracy_matrices([record(HAND), record(HAND, seed=1)]), width=30)
    assert [line.strip() for line in text.splitlines() if "seed" in line] == ["sd_lora, seed 0", "sd_lora, seed 1"]


def test_cells_are_the_records_figures_in_percent() -> None:
    rows = [line.split() for line in shown(accuracy_matrices([record(HAND)])).splitlines()[-3:]]
    assert rows == [["1", "90.0"], ["2", "60.0", "80.0"], ["3", "70.0", "90.0", "50.0"]]


def test_shades_darken_with_accuracy_and_ink_stays_legible() -> None:
    text = shown(accuracy_matrices([record([[0.0], [0.5, 1.0]])]), colour=True)
    cells = re.findall(r"\x1b\[(37|30|97);48;2;(\d+);(\d+);(\d+)m\s*([\d.]+)", text)
    light = {float(value): int(red) + int(green) + int(blue) for _, red, green, blue, value in cells}
    assert light[0.0] > light[50.0] > light[100.0]
    assert {float(cell[4]): cell[0] for cell in cells} == {0.0: "30", 50.0: "30", 100.0: "37"}


@pytest.mark.parametrize("n_tasks", [13, 20, 50])
@pytest.mark.parametrize("width", [40, 80])
def test_many_tasks_show_the_first_the_last_and_say_how_many(n_tasks: int, width: int) -> None:
    text = shown(accuracy_matrices([record(square(n_tasks))]), width=width)
    numbers = [line.split()[0] for line in text.splitlines() if line.split() and line.split()[0].isdigit()]
    assert (numbers[0], numbers[-1]) == ("1", str(n_tasks))
    if len(numbers) < n_tasks:
        assert f"tasks shown: {len(numbers)} of {n_tasks}" in " ".join(text.split())


def test_a_task_without_test_images_is_a_dash() -> None:
    assert shown(accuracy_matrices([record([[None], [None, 0.5]])])).splitlines()[-1].split() == ["2", "–", "50.0"]  # noqa: RUF001


def test_nothing_to_show_is_no_crash() -> None:
    assert shown(accuracy_matrices([])) == ""
    assert "sd_lora" in shown(accuracy_matrices([record([])]))
    shown(summary_table([]))


def test_summary_fits_and_holds_every_figure() -> None:
    text = shown(summary_table([record(HAND, method="sequential_lora"), record([], status="failed")]))
    (line,) = [line for line in text.splitlines() if "sequential_lora" in line]
    assert line.split() == ["sequential_lora", "0", "70.0", "76.7", "5.0", "70.0", "369", "k", "1.2", "MB", "3.0", "s"]
    assert "(failed)" in text


def test_passes_are_a_column_where_a_run_takes_more_than_one() -> None:
    plain, twice = (
        record(HAND, method=name).model_copy(update={"inference_passes": n})
        for name, n in {"sd_lora": 1, "l2p": 2}.items()
    )
    assert "passes" not in shown(summary_table([plain]))
    lines = {
        line.split()[0]: line.split() for line in shown(summary_table([plain, twice])).splitlines() if line.split()
    }
    assert (lines["sd_lora"][8], lines["l2p"][8]) == ("1", "2")


def test_summary_over_seeds_gives_mean_and_deviation() -> None:
    lines = shown(summary_table([record([[0.5]], seed=0), record([[0.7]], seed=1)])).splitlines()
    (place,) = [number for number, line in enumerate(lines) if "sd_lora" in line]
    assert lines[place].split()[:3] == ["sd_lora", "0,1", "60.0"]
    assert lines[place + 1].split() == ["±", "14.1"] * 3  # no deviation where a count or a time is the same in both


def test_recipes_are_named_where_they_differ() -> None:
    other = RunRecord(recipe={"name": "cifar", "method": {"name": "sd_lora"}})
    assert "cifar" in shown(summary_table([record(HAND), other]))
    assert "digits" not in shown(summary_table([record(HAND)]))


@pytest.mark.parametrize(
    ("records", "line"),
    [
        ([], "No task was learnt."),
        ([record([])], "No task was learnt."),
        ([record([[0.5]])], "After one task: sd_lora 50.0 %."),
        (
            [record(HAND, method="sequential_lora"), record(HAND)],
            "After three tasks: sequential_lora 70.0 % (forgetting 5.0), sd_lora 70.0 % (forgetting 5.0).",
        ),
        ([record([[0.5]], seed=0), record([[0.7]], seed=1)], "After one task: sd_lora 60.0 ± 14.1 % (two seeds)."),
        (
            [record([[0.5]], status="failed"), record(HAND)],
            "sd_lora (failed) 50.0 % after one task; sd_lora 70.0 % (forgetting 5.0) after three tasks.",
        ),
    ],
)
def test_closing_line(records: list[RunRecord], line: str) -> None:
    assert closing_line(records) == line


def test_reports_load_no_torch() -> None:
    code = "import sys, lorastream.reports; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
