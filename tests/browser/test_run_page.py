"""A real browser opens the page from disk: it says what the record says, to those who see and those who do not.

It asks for nothing else, and in either theme, on a wide screen and a narrow one, nothing is cut off.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lorastream.runs import RunRecord

KINDS = ("sd-lora", "inf-lora", "confused", "hundred-tasks", "one-task", "running", "nothing-yet", "failed")

CUT_OFF = """
const found = [], whole = document.documentElement;
if (whole.scrollWidth > whole.clientWidth) found.push("the page is wider than its window");
for (const svg of document.querySelectorAll("svg")) {
  const box = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll("text")];
  const boxes = texts.map(text => text.getBoundingClientRect());
  texts.forEach((text, i) => {
    const b = boxes[i], name = svg.closest("figure").id + ": " + text.textContent;
    const inside = b.left > box.left - 1 && b.right < box.right + 1 && b.top > box.top - 1 && b.bottom < box.bottom + 1;
    if (!inside) found.push(name + " is cut off");
    for (let j = 0; j < i; j++) {
      const c = boxes[j], across = Math.min(b.right, c.right) - Math.max(b.left, c.left);
      const down = Math.min(b.bottom, c.bottom) - Math.max(b.top, c.top);
      if (across > 0.5 && down > 3) found.push(name + " covers " + texts[j].textContent);
    }
  });
}
return found;
"""
FAINT = """
const numbers = colour => (colour.match(/[0-9.]+/g) || []).slice(0, 3).map(Number);
const straight = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = colour => numbers(colour).reduce((sum, v, i) => sum + straight(v / 255) * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
const paper = getComputedStyle(document.documentElement).backgroundColor;
const texts = "h1, h2, h3, p, dt, dd, th, td, figcaption, summary, svg text";
const cells = "#matrix text, #between-tasks text";
const colour = e => e.tagName === "text" ? getComputedStyle(e).fill : getComputedStyle(e).color;
return [...document.querySelectorAll(texts)].filter(e => !e.matches(cells) && contrast(colour(e), paper) < 4.5)
  .map(e => e.tagName + ": " + e.textContent.slice(0, 40));
"""
FIGURES = """
return [...document.querySelectorAll("figure")].map(figure => {
  const picture = figure.querySelector("[role=img]"), box = picture.getBoundingClientRect();
  const said = name => document.getElementById(picture.getAttribute(name)).textContent.trim();
  return {
    name: figure.id, label: said("aria-labelledby"), words: said("aria-describedby"),
    width: box.width, height: box.height, parts: picture.querySelectorAll("path, text, use, img").length,
  };
});
"""
DOUBLED = "const ids = [...document.querySelectorAll('[id]')].map(e => e.id); return ids.length - new Set(ids).size"


@pytest.mark.parametrize("kind", KINDS)
def test_it_opens_from_disk_without_an_error_or_a_request(kind: str, browser: Any, pages: dict[str, Path]) -> None:
    page = pages[kind]
    browser.open(page)
    console, asked = browser.logs()
    assert console == []
    assert {address for address in asked if not address.startswith("data:")} == {page.as_uri()}
    assert browser.ask("return document.querySelectorAll('script, link[href^=http], img[src^=http]').length") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_has_words_and_something_to_see(kind: str, browser: Any, pages: dict[str, Path]) -> None:
    browser.open(pages[kind])
    figures = browser.ask(FIGURES)
    assert bool(figures) == (kind != "nothing-yet")
    for figure in figures:
        assert figure["label"], figure
        assert len(figure["words"].split()) > (0 if figure["name"].startswith("analysis") else 3), figure
        assert min(figure["width"], figure["height"]) > 60, figure
        assert figure["parts"] > (0 if figure["name"].startswith("analysis") else 5), figure
    levels = browser.ask("return [...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert browser.ask(DOUBLED) == 0


@pytest.mark.parametrize("kind", ["sd-lora", "inf-lora", "confused", "hundred-tasks", "one-task", "running"])
def test_the_numbers_are_those_of_the_record(
    kind: str, browser: Any, pages: dict[str, Path], records: dict[str, RunRecord]
) -> None:
    browser.open(pages[kind])
    record = records[kind]
    assert _rows(browser, "#matrix") == [
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
        assert _rows(browser, "#between-tasks") == [
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
    browser.open(pages[kind], theme=theme, width=width)
    browser.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.ask(CUT_OFF) == []
    assert browser.ask(FAINT) == []
    paper = browser.ask("return getComputedStyle(document.documentElement).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if theme == "light" else "rgb(13, 17, 23)")
    browser.ask("document.querySelectorAll('figure details').forEach(d => d.open = false)")
    browser.picture(f"{kind}-{theme}-{width}")


def test_names_are_text_whatever_they_are(browser: Any, pages: dict[str, Path], records: dict[str, RunRecord]) -> None:
    browser.open(pages["failed"])
    assert browser.ask("return document.title").startswith("sd_lora on small")
    assert records["failed"].tasks[0][0] in browser.ask("return document.body.textContent")


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
    import base64

    browser.open(pages["confused"])
    paper = browser.chrome.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert base64.b64decode(paper["data"]).startswith(b"%PDF")


def _rows(browser: Any, figure: str) -> list[list[str]]:
    script = "return [...document.querySelectorAll(arguments[0])].map(r => [...r.cells].map(c => c.textContent))"
    return browser.ask(script, f"{figure} tbody tr")
