"""The page stands alone, is the same for the same records, and its plots' labels never cover one another."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.reports.comparison import compare
from lorastream.reports.comparison.page import page
from lorastream.reports.comparison.plots import accuracy_against, spread_out, ticks
from lorastream.runs import RunRecord

Made = Callable[..., RunRecord]


class _Texts(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        self.ids += [value for name, value in attrs if name == "id" and value]


def test_every_number_of_the_table_and_every_method_of_the_plots_is_on_the_page(made: Made) -> None:
    comparison = compare(
        [made("sd_lora", s, 0.7 + s / 100) for s in range(2)] + [made("<b>", s, 0.4) for s in range(2)]
    )
    text = page(comparison)
    told = _Texts(text)
    assert {"70.5 ± 0.7", "40.0 ± 0.0", "<b>", "8 B", "2.0 s"} <= set(told.texts)
    assert len(told.ids) == len(set(told.ids))
    assert "http" not in text
    assert page(comparison) == text


def test_a_single_run_makes_a_page_without_plots(made: Made) -> None:
    told = _Texts(page(compare([made()])))
    assert "One method: nothing to compare it with." in told.texts
    assert not any(name.endswith("stored-bytes") for name in told.ids)


@pytest.mark.parametrize("methods", [2, 40])
def test_labels_stand_apart_however_many_there_are(methods: int, made: Made) -> None:
    (setting,) = compare([made(f"method {i}", 0, 0.5 + i / 1000, root=str(i)) for i in range(methods)]).settings
    figure = accuracy_against(setting, "training time", name="times")
    assert figure is not None
    assert figure.table is not None
    assert len(figure.table.rows) == methods
    assert all(f"method {i}" in figure.svg for i in range(methods))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_heights_are_spread_out_in_order_and_within_bounds(heights: list[float]) -> None:
    given_heights, gap = sorted(heights, reverse=True), 1 / 12
    placed = spread_out(given_heights, gap=gap)
    assert all(high - low >= gap - 1e-9 for high, low in pairwise(placed))
    assert all(gap / 2 - 1e-9 <= place <= 1 - gap / 2 + 1e-9 for place in placed)
    if all(high - low >= gap for high, low in pairwise(given_heights)) and (
        gap / 2 <= given_heights[-1] <= given_heights[0] <= 1 - gap / 2
    ):
        assert placed == pytest.approx(given_heights), "what stands apart already is left where it is"


def test_ticks_are_few_and_inside() -> None:
    steps = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    assert ticks(3, 700, steps, log=True) == [5, 20, 100, 500]
    assert ticks(3, 700, steps, log=False) == [5, 200, 500]
    assert ticks(3, 4, steps, log=False) == []
