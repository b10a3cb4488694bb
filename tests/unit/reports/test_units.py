"""Numbers are spelt in two or three digits and a unit; what is missing is a dash, never a zero."""

from __future__ import annotations

import pytest

from lorastream.reports.units import NOTHING, count, duration, number_word, percent, size


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.71349, "71.3"), (1.0, "100.0"), (0.0, "0.0"), (-0.00001, "0.0"), (None, NOTHING)]
)
def test_percent(fraction: float | None, text: str) -> None:
    assert percent(fraction) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.0 k"),
        (1000, "1.0 k"),
        (9949, "9.9 k"),
        (9960, "10 k"),
        (368661, "369 k"),
        (999_600, "1.0 M"),
        (86e6, "86 M"),
        (None, NOTHING),
    ],
)
def test_count(number: float | None, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1_234_567, "1.2 MB"), (3e12, "3.0 TB"), (None, NOTHING)]
)
def test_size(n_bytes: float | None, text: str) -> None:
    assert size(n_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (7.34, "7.3 s"),
        (36, "36 s"),
        (59.6, "1.0 min"),
        (96, "1.6 min"),
        (3590, "1.0 h"),
        (8160, "2.3 h"),
        (None, NOTHING),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("number", "word"), [(0, "no"), (5, "five"), (12, "twelve"), (13, "13")])
def test_number_word(number: int, word: str) -> None:
    assert number_word(number) == word
