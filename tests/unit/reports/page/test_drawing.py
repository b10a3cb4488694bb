"""A drawing belongs to its page: the same bytes each time, its own ids, the page's colours, text as text."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.reports.page.drawing import ACCENT, WIDTH, drawing, for_page, legend, numbers, over_tasks, task_ticks
from lorastream.reports.page.heat_map import MOST_WITH_FIGURES, _runs, heat_map


def _line(name: str) -> str:
    with drawing(name) as drawn:
        drawn.panel.plot([1, 2], [3, 4], color=ACCENT, label="a <b> & $c$", marker="o")
        over_tasks(drawn.panel, 2)
        legend(drawn.panel)
    return drawn.svg


def test_the_same_drawing_gives_the_same_bytes_and_reads_as_xml() -> None:
    svg = _line("one")
    assert svg == _line("one")
    assert ET.fromstring(svg).tag == "svg"  # noqa: S314 (we made it)
    assert "a &lt;b&gt; &amp; $c$" in svg, "text is text, and no formula"


def test_ids_are_the_figures_own_and_every_reference_has_one() -> None:
    for name in ("one", "two"):
        svg = _line(name)
        ids = re.findall(r'id="([^"]+)"', svg)
        referred = {one or other for one, other in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)}
        assert ids
        assert set(ids) == referred
        assert all(found.startswith(f"{name}-") for found in ids)


def test_colours_and_fonts_are_the_pages() -> None:
    svg = _line("one")
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", svg)) <= {
        "none",
        "var(--ink)",
        "var(--muted)",
        "var(--line)",
        "var(--accent)",
    }
    assert "font-family" not in svg
    assert not re.search(r"<style|<metadata|xmlns|xlink|<\?xml|DOCTYPE", svg)
    assert re.match(rf'<svg viewBox="0 0 {WIDTH:.0f} \d+">', svg)


def test_what_nothing_refers_to_loses_its_id() -> None:
    whole = (
        '<?xml version="1.0"?>\n<svg width="9pt" height="9pt"><g id="a"><use xlink:href="#b"/><path id="b"/></g></svg>'
    )
    assert for_page(whole, "x") == '<svg><g><use href="#x-b"/><path id="x-b"/></g></svg>'


@given(st.integers(1, 3000))
def test_ticks_begin_at_one_and_are_few(n_tasks: int) -> None:
    ticks = task_ticks(n_tasks)
    assert ticks[0] == 1
    assert len(ticks) <= 16
    assert ticks == sorted(set(ticks))
    assert ticks[-1] <= n_tasks


def test_ticks_by_hand() -> None:
    assert task_ticks(3) == [1, 2, 3]
    assert task_ticks(20) == [1, 5, 10, 15, 20]
    assert task_ticks(100) == [1, 20, 40, 60, 80, 100]


def test_nothing_is_a_gap() -> None:
    assert numbers([1, None])[0] == 1.0
    assert numbers([None])[0] != numbers([None])[0]


@pytest.mark.parametrize(("n", "shown"), [(3, True), (MOST_WITH_FIGURES, True), (100, False)])
def test_a_heat_map_says_its_figures_while_there_is_room(n: int, shown: bool) -> None:
    svg = heat_map("map", [[0.5] * n for _ in range(n)], across="task", down="task")
    assert (svg.count(">50.0<") + svg.count(">50<") >= n * n) == shown
    assert len(svg) < 400_000


def test_cells_without_a_value_are_empty() -> None:
    svg = heat_map("map", [[None, 1.0], [0.25, None]], across="a", down="b")
    assert (svg.count(">100.0<"), svg.count(">25.0<")) == (1, 1)
    assert len(re.findall(r"var\(--heat\)", svg)) == 2


@given(st.lists(st.none() | st.floats(0, 1), max_size=30), st.booleans())
def test_neighbours_of_one_level_are_one_box_and_no_cell_is_lost(row: list[float | None], joined: bool) -> None:
    runs = _runs(row, longest=len(row) if joined else 1)
    covered = {j: level for level, first, last in runs for j in range(first, last + 1)}
    assert covered == {j: round(20 * value) for j, value in enumerate(row) if value is not None}
    assert joined or all(first == last for _, first, last in runs)
