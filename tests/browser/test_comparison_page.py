"""A real browser opens the page of a comparison from disk: its numbers are those of the records, and all is seen."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from lorastream.runs import RunRecord

KINDS = ("compared-all", "compared-digits", "compared-lone", "compared-hostile")
LOOKS = [(375, "light"), (375, "dark"), (1100, "light"), (1100, "dark")]


@pytest.mark.parametrize("kind", KINDS)
def test_it_opens_from_disk_without_an_error_or_a_request(
    kind: str, browser: Any, comparisons: dict[str, Path]
) -> None:
    assert browser.opens_alone(comparisons[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_has_words_and_something_to_see(kind: str, browser: Any, comparisons: dict[str, Path]) -> None:
    browser.open(comparisons[kind])
    figures = browser.figures()
    assert bool(figures) == (kind != "compared-lone")
    for figure in figures:
        assert figure["label"].startswith("Accuracy against"), figure
        assert "methods. The most accurate is" in figure["words"], figure
        assert min(figure["width"], figure["height"]) > 200, figure
        assert figure["parts"] > 8, figure


@pytest.mark.parametrize("kind", ["compared-digits", "compared-lone", "compared-hostile"])
def test_the_numbers_are_those_of_the_records(
    kind: str, browser: Any, comparisons: dict[str, Path], compared: dict[str, list[RunRecord]]
) -> None:
    browser.open(comparisons[kind])
    finished = [record for record in compared[kind] if record.status == "finished"]
    shown = {row[0].strip(): row for row in browser.rows("#setting-1 > .scroll")[: len({r.method for r in finished})]}
    for method in {record.method for record in finished}:
        values = [100 * (record.average_accuracy or 0) for record in finished if record.method == method]
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        assert shown[_shown(method)][1:3] == [str(len(values)), f"{fmean(values):.1f}{spread}"]
    for row in browser.rows("#setting-1-stored-bytes"):
        assert row[1] == shown[row[0].strip()][2]


def test_every_run_that_finished_is_counted(
    browser: Any, comparisons: dict[str, Path], compared: dict[str, list[RunRecord]]
) -> None:
    browser.open(comparisons["compared-all"])
    finished = sum(record.status == "finished" for record in compared["compared-all"])
    assert f"{finished} runs" in browser.ask("return document.querySelector('footer').textContent")


@pytest.mark.parametrize(("width", "theme"), LOOKS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_off_covered_or_faint(
    kind: str, width: int, theme: str, browser: Any, comparisons: dict[str, Path]
) -> None:
    browser.looks_right(comparisons[kind], theme, width)


def test_names_are_text_whatever_they_are(
    browser: Any, comparisons: dict[str, Path], compared: dict[str, list[RunRecord]]
) -> None:
    browser.open(comparisons["compared-hostile"])
    assert browser.ask("return document.title") == "Methods compared"
    assert _shown(compared["compared-hostile"][0].method) in browser.ask("return document.body.textContent")


def test_it_prints(browser: Any, comparisons: dict[str, Path]) -> None:
    assert browser.prints(comparisons["compared-all"])


def _shown(method: str) -> str:
    """Return a method's name as the page has it: on one line, and turning nothing that follows."""
    return " ".join(method.replace("\u202e", "").split())
