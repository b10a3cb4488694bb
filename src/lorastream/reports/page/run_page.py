"""The report of one run as one HTML page, from its record and what lies beside that; same files, same bytes."""

from __future__ import annotations

from pathlib import Path

from lorastream.files import write_atomically
from lorastream.reports.page.accuracy import accuracy_section
from lorastream.reports.page.analyses import analyses_section
from lorastream.reports.page.costs import costs_section, learning_section
from lorastream.reports.page.facts import facts
from lorastream.reports.page.method_figures import method_section
from lorastream.reports.page.mistakes import calibration_section, mistakes_section
from lorastream.reports.page.template import render
from lorastream.reports.page.words import outcome, tiles, title
from lorastream.runs import RunRecord

PAGE = "report.html"
_RELOAD_SECONDS = 15


def run_page(record: RunRecord, folder: Path | None = None) -> str:
    """Return the page of a run.

    Args:
        record: of any status; a running one makes a page that loads itself again every so often.
        folder: of the run, for its analyses and the pictures that the record names; None leaves them out.
    """
    sections = [
        accuracy_section(record),
        mistakes_section(record, folder),
        method_section(record),
        calibration_section(record),
        learning_section(record),
        costs_section(record),
        analyses_section(folder),
    ]
    return render(
        "run.html.j2",
        title=title(record),
        heading=title(record),
        reload=_RELOAD_SECONDS if record.status == "running" else None,
        outcome=outcome(record),
        failure=record.failure,
        notes=record.notes,
        tiles=tiles(record) if record.accuracy_matrix else [],
        sections=[section for section in sections if not section.is_empty],
        command=record.command,
        facts=facts(record),
        id=record.id,
    )


def write_run_page(record: RunRecord, folder: Path, file: Path | None = None) -> Path:
    """Write the page of a run, atomically, and return the file.

    Args:
        record: of the run.
        folder: of the run; its analyses and its record's pictures are shown.
        file: where to; `report.html` in the folder by default.

    Raises:
        RunError: it could not be written; an older page there is untouched.
    """
    path = file or folder / PAGE
    write_atomically(path, run_page(record, folder))
    return path
