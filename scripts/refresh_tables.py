"""Fill the tables of README and docs from what lies under benchmarks/results, and draw README's picture.

`--check` only compares. A table stands between `<!-- table: FOLDER -->` and `<!-- end -->`; `magnitudes`, `residuals`,
`targets`, `steps`, `attention` and `ablation` in place of `table` make those; `<!-- figures: METHOD -->` makes those of
a card.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from lorastream.reports import magnitudes_markdown, residuals_markdown
from lorastream.reports.comparison import compare
from lorastream.reports.comparison.columns import footnotes
from lorastream.reports.comparison.documents import markdown_table
from lorastream.reports.groups import group
from lorastream.reports.plots import accuracy_over_tasks
from lorastream.runs import RunRecord, store

ROOT = Path(__file__).parent.parent
sys.path += [str(ROOT / "scripts"), str(ROOT / "benchmarks")]
from ablation_table import ablation_table  # noqa: E402 (benchmarks are scripts, no package)
from method_figures import method_figures  # noqa: E402 (scripts are no package either)
from performance_tables import attention_table, steps_table, targets_table  # noqa: E402

DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", DOCS / "methods.md", DOCS / "performance.md", *sorted((DOCS / "methods").glob("*.md")))
PICTURE = DOCS / "digits.svg"
SHOWN = ("sequential_lora", "sd_lora", "sd_lora_plus")
OF_RECORDS = {"magnitudes": magnitudes_markdown, "residuals": residuals_markdown}


def compared(folder: Path) -> str:
    """Return a folder's runs beside each other, with what a reader must know below, as `report --compare` makes them.

    The data of all runs are the same: a fingerprint also changes with the time that a file was written.
    """
    settings = compare([store.read(path) for path in store.find(folder)], same_data=True).settings
    return "\n\n".join("\n".join([markdown_table(s), "", *(f"- {note}" for note in footnotes(s))]) for s in settings)


MAKE: dict[str, Callable[[Path], str]] = {
    "table": compared,
    **{name: lambda folder, make=make: make(_ranked(folder)) for name, make in OF_RECORDS.items()},
    "targets": targets_table,
    "steps": steps_table,
    "attention": attention_table,
    "ablation": ablation_table,
    "figures": lambda path: method_figures(path.name),
}
BLOCK = re.compile(rf"(<!-- ({'|'.join(MAKE)}): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """Return a page's text with every table made anew."""

    def fill(block: re.Match[str]) -> str:
        return f"{block[1]}\n{MAKE[block[2]](ROOT / block[3])}\n\n{block[4]}"

    return BLOCK.sub(fill, text)


def _ranked(folder: Path) -> list[RunRecord]:
    """Return a folder's records, the most accurate method first, seeds in their order."""
    records = [store.read(path) for path in store.find(folder)]
    accuracy = {e.method: e.figure(lambda record: record.average_accuracy).mean or 0.0 for e in group(records)}
    return sorted(records, key=lambda record: (-accuracy[record.method], record.seed))


def picture() -> str:
    """Return README's picture: the first seed of the demonstration's three methods."""
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
