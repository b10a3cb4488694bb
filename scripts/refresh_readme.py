"""Fill README's tables from the records under benchmarks/results, and draw its picture; `--check` only compares."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lorastream.reports.plots import accuracy_over_tasks
from lorastream.reports.text import table
from lorastream.runs import store

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "digits.svg"
SHOWN = ("sequential_lora", "sd_lora")
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """Return README's text with every table made anew."""

    def fill(block: re.Match[str]) -> str:
        records = [store.read(path) for path in store.find(ROOT / block[2])]
        return f"{block[1]}\n{table(records)}\n\n{block[3]}"

    return BLOCK.sub(fill, text)


def picture() -> str:
    """Return README's picture: the first seed of the demonstration's two methods."""
    found = [store.read(path) for path in store.find(ROOT / "benchmarks" / "results" / "digits")]
    first = {record.method: record for record in sorted(found, key=lambda r: -r.seed)}
    return accuracy_over_tasks([first[method] for method in SHOWN])


def main() -> None:
    """Refresh, or with `--check` exit with 1 where something is stale."""
    old = README.read_text("utf-8")
    new = filled(old)
    if "--check" in sys.argv[1:]:
        sys.exit(0 if old == new else "README.md is stale: run python scripts/refresh_readme.py")
    README.write_text(new, "utf-8")
    PICTURE.write_text(picture(), "utf-8")


if __name__ == "__main__":
    main()
