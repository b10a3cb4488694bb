"""The same numbers in every form: readable ones rounded, CSV and JSON in full, LaTeX and Markdown with nothing live."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest
from rich.console import Console

from lorastream.reports.comparison import Comparison, compare, documents, terminal
from lorastream.runs import RunRecord

Made = Callable[..., RunRecord]
NASTY = "a|b_100%&$#{x}~^\\<i>"


@pytest.fixture
def comparison(made: Made) -> Comparison:
    runs = [made("sd_lora", s, 0.7 + s / 97) for s in range(3)] + [made(NASTY, s, 0.5) for s in range(3)]
    return compare([*runs, made("sd_lora", recipe="other")])


def test_csv_is_in_full_precision(comparison: Comparison) -> None:
    lines = list(csv.DictReader(io.StringIO(documents.as_csv(comparison))))
    assert [line["method"] for line in lines] == ["sd_lora", NASTY, "sd_lora"]
    assert float(lines[0]["average_accuracy_mean"]) == comparison.settings[0].rows[0].accuracy.mean
    assert lines[0]["seeds"] == "0 1 2"
    assert lines[1]["versus_pairs"] == "3"
    assert (lines[0]["versus_pairs"], lines[0]["published_source"]) == ("", "")


def test_json_has_all_of_it(comparison: Comparison) -> None:
    document = json.loads(documents.as_json(comparison))
    line = document["settings"][0]["lines"][1]
    assert line["method"] == NASTY
    assert line["average_accuracy"] == {"mean": 0.5, "standard_deviation": 0.0}
    assert line["versus"]["p"] == 0.25
    assert line["versus"]["is_significant"] is False
    assert [run["seed"] for run in line["runs"]] == [0, 1, 2]


def test_latex_escapes(comparison: Comparison) -> None:
    text = documents.latex(comparison)
    assert r"a|b\_100\%\&\$\#\{x\}\textasciitilde{}\textasciicircum{}\textbackslash{}$<$i$>$" in text
    assert r"71.0 $\pm$ 1.0" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert rows
    assert all(text.isascii() for text in rows)


def test_markdown_keeps_its_columns(comparison: Comparison) -> None:
    text = documents.markdown(comparison)
    for table in text.split("###")[1:]:
        widths = {line.count("|") for line in table.splitlines() if line.startswith("|")}
        assert len(widths) == 1
    assert "- With 3 pairs of runs no p below 0.25 is possible" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_is_never_wider_than_it_is(width: int, comparison: Comparison) -> None:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for part in terminal.shown(comparison, width=width):
        console.print(part)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, shown.splitlines())) <= width
    assert "ref." in shown
    assert "71.0 ± 1.0" in shown
    together = any("seeds" in line and "(pairs)" in line for line in shown.splitlines())
    assert together == (width >= 80), "what does not fit stands in two tables"
