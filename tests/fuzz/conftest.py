"""The mutators stand beside the tests: their folder goes on the path. What was tried is counted and told at the end."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

COUNTS: Counter[tuple[str, str, str]] = Counter()


@pytest.fixture
def tried() -> Counter[tuple[str, str, str]]:
    """Inputs by what was mutated, how, and what came of it."""
    return COUNTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the counts."""
    if not COUNTS:
        return
    terminalreporter.write_line(f"{sum(COUNTS.values()):,} mutated inputs")
    for part, heading in ((0, "what was mutated"), (1, "how"), (2, "what came of it")):
        totals: Counter[str] = Counter()
        for key, number in COUNTS.items():
            totals[key[part]] += number
        told = ", ".join(f"{name} {number:,}" for name, number in totals.most_common())
        terminalreporter.write_line(f"  {heading}: {told}")
