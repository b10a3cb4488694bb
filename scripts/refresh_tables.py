"""Fill the tables of README and docs from the records under benchmarks/results, and draw README's picture.

`--check` only compares. A table stands between `<!-- table: FOLDER -->` and `<!-- end -->`; `magnitudes` and
`residuals` in place of `table` make those.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lorastream.reports import magnitudes_markdown, residuals_markdown
from lorastream.reports.groups import group
from lorastream.reports.plots import accuracy_over_tasks
from lorastream.reports.text import table
from lorastream.runs import RunRecord, store

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "methods.md")
PICTURE = ROOT / "docs" / "digits.svg"
SHOWN = ("sequential_lora", "sd_lora")
MAKE = {"table": table, "magnitudes": magnitudes_markdown, "residuals": residuals_markdown}
BLOCK = re.compile(r"(<!-- (table|magnitudes|residuals): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """Return a page's text with every table made anew."""

    def fill(block: re.Match[str]) -> str:
        records = _ranked([store.read(path) for path in store.find(ROOT / block[3])])
        return f"{block[1]}\n{MAKE[block[2]](records)}\n\n{block[4]}"

    return BLOCK.sub(fill, text)


def _ranked(records: list[RunRecord]) -> list[RunRecord]:
    """Put the most accurate method first, seeds in their order."""
    accuracy = {e.method: e.figure(lambda record: record.average_accuracy).mean or 0.0 for e in group(records)}
    return sorted(records, key=lambda record: (-accuracy[record.method], record.seed))


def picture() -> str:
    """Return README's picture: the first seed of the demonstration's two methods."""
    found = [store.read(path) for path in store.find(ROOT / "benchmarks" / "results" / "digits")]
    first = {record.method: record for record in sorted(found, key=lambda r: -r.seed)}
    return accuracy_over_tasks([first[method] for method in SHOWN])


def main() -> None:
    """Refresh, or with `--check` exit with 1 where something is stale."""
    stale = {page: new for page in PAGES if (new := filled(page.read_text("utf-8"))) != page.read_text("utf-8")}
    if "--check" in sys.argv[1:]:
        names = ", ".join(page.name for page in stale)
        sys.exit(f"{names}: stale, run python scripts/refresh_tables.py" if stale else 0)
    for page, new in stale.items():
        page.write_text(new, "utf-8")
    PICTURE.write_text(picture(), "utf-8")


if __name__ == "__main__":
    main()
