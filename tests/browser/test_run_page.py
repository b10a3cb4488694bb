"""A real browser opens the page from disk: it says what the record says, to those who see and those who do not.

It asks for nothing else, and in either theme, on a wide screen and a narrow one, nothing is cut off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lorastream.runs import RunRecord

KINDS = ("sd-lora", "inf-lora", "confused", "hundred-tasks", "one-task", "running", "nothing-yet", "failed")


@pytest.mark.parametrize("kind", KINDS)
def test_it_opens_from_disk_without_an_error_or_a_request(kind: str, browser: Any, pages: dict[str, Path]) -> None:
    assert browser.opens_alone(pages[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_has_words_and_something_to_see(kind: str, browser: Any, pages: dict[str, Path]) -> None:
    browser.open(pages[kind])
    figures = browser.figures()
    assert bool(figures) == (kind != "nothing-yet")
    for figure in figures:
        assert figure["label"], figure
        assert len(figure["words"].split()) > (0 if figure["name"].startswith("analysis") else 3), figure
        assert min(figure["width"], figure["height"]) > 60, figure
        assert figure["parts"] > (0 if figure["name"].startswith("analysis") else 5), figure


@pytest.mark.parametrize("kind", ["sd-lora", "inf-lora", "confused", "hundred-tasks", "one-task", "running"])
def test_the_numbers_are_those_of_the_record(
    kind: str, browser: Any, pages: dict[str, Path], records: dict[str, RunRecord]
) -> None:
    browser.open(pages[kind])
    record = records[kind]
    assert browser.rows("#matrix") == [
        [str(t + 1), *(f"{100 * value:.1f}" for value in row if value is not None)]
        + [""] * (len(record.accuracy_matrix) - t - 1)
        for t, row in enumerate(record.accuracy_matrix)
    ]
    tiles = browser.ask("return [...document.querySelectorAll('.tiles dd')].map(d => d.textContent.trim())")
    assert tiles[:2] == [
        f"{100 * (value or 0):.1f} %" for value in (record.average_accuracy, record.average_incremental_accuracy)
    ]
    drawn = browser.ask("return [...document.querySelectorAll('#matrix svg text')].map(t => t.textContent)")
    n_tasks = len(record.accuracy_matrix)
    if n_tasks <= 10:
        for row in record.accuracy_matrix:
            assert {f"{100 * value:.1f}" for value in row if value is not None} <= set(drawn)
    if record.confusion and n_tasks > 1:
        assert browser.rows("#between-tasks") == [
            [str(k + 1), *(f"{images:,}" for images in row)] for k, row in enumerate(record.confusion.tasks)
        ]
    assert record.command is not None
    assert record.command in browser.ask("return document.querySelector('pre').textContent")


LOOKS = [(375, "light"), (375, "dark"), (1100, "light"), (1100, "dark")]
SEEN = [(kind, *look) for kind in KINDS for look in (LOOKS if kind in ("sd-lora", "confused") else LOOKS[1:3])]


@pytest.mark.parametrize(("kind", "width", "theme"), SEEN)
def test_nothing_is_cut_off_covered_or_faint(
    kind: str, width: int, theme: str, browser: Any, pages: dict[str, Path]
) -> None:
    browser.looks_right(pages[kind], theme, width)


def test_pictures_of_what_is_confused_are_there_with_words(
    browser: Any, pages: dict[str, Path], records: dict[str, RunRecord]
) -> None:
    browser.open(pages["confused"])
    pictures = browser.ask(
        "return [...document.querySelectorAll('.galleries img')].map(i => [i.alt, i.title, i.naturalWidth > 0])"
    )
    names = [name for task in records["confused"].tasks for name in task]
    kept = records["confused"].thumbnails
    assert len(kept) >= 6
    assert pictures == [[f"{names[one.true]} taken for {names[one.taken]}", one.image, True] for one in kept]


def test_names_are_text_whatever_they_are(browser: Any, pages: dict[str, Path], records: dict[str, RunRecord]) -> None:
    browser.open(pages["failed"])
    assert browser.ask("return document.title").startswith("sd_lora on small")
    assert records["failed"].tasks[0][0].replace("\u202e", "") in browser.ask("return document.body.textContent")


def test_an_analysis_is_shown_and_can_do_nothing(browser: Any, pages: dict[str, Path]) -> None:
    browser.open(pages["confused"])
    section = browser.ask("return document.getElementById('analyses').textContent")
    assert "Closeness" in section
    assert "Holds on this run. Nearer than chance." in section
    assert "analyses/torn.json cannot be shown" in section
    assert browser.ask("return document.querySelector('#analyses img').naturalWidth") > 0


def test_a_keyboard_is_enough(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver import Keys

    browser.open(pages["one-task"])
    focused = "return document.activeElement.textContent.trim()"
    browser.press(Keys.TAB)
    assert browser.ask(focused) == "To the content"
    browser.press(Keys.TAB)
    assert browser.ask(focused).startswith("The numbers")
    browser.press(Keys.ENTER)
    assert browser.ask("return document.activeElement.parentElement.open")


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_running_page_loads_itself_again(kind: str, browser: Any, pages: dict[str, Path]) -> None:
    browser.open(pages[kind])
    reloads = browser.ask("return document.querySelectorAll('meta[http-equiv=refresh]').length")
    assert reloads == (kind in ("running", "nothing-yet"))


def test_it_prints(browser: Any, pages: dict[str, Path]) -> None:
    assert browser.prints(pages["confused"])
