"""`lorastream report --html`: the page of each run, made of its record and the analyses beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lorastream.errors import CheckpointError, UserError

if TYPE_CHECKING:
    from lorastream.runs.record import RunRecord


def show(records: Mapping[Path, RunRecord], *, out: Path | None) -> None:
    """Write the page of every run beside its record, or that of the only one to a file, and say where.

    Args:
        records: by their files.
        out: the file; None for `report.html` in each run's folder.

    Raises:
        CheckpointError: one file for several runs.
        RunError: it cannot be written; an older page there is untouched.
    """
    from lorastream.cli import screen
    from lorastream.reports.page.run_page import write_run_page

    if out is not None and len(records) > 1:
        raise CheckpointError(
            "lorastream report --html --out",
            expected="one run",
            got=f"{len(records)} runs",
            next_step="name the folder of one, or leave --out out: each page goes into its run's folder",
        )
    for file, record in records.items():
        screen.show(f"Saved in {write_run_page(record, file.parent, out)}")


def check_options(*, html: bool, out: Path | None, magnitudes: bool) -> None:
    """Refuse a file without a page, and a page with tables that are for the terminal.

    Raises:
        UserError: what does not go together, or a file that cannot be made.
    """
    if html and magnitudes:
        raise UserError(
            "lorastream report",
            expected="--html or --magnitudes",
            got="--html --magnitudes",
            next_step="keep --html: the page of a run shows its magnitudes",
        )
    if out is None:
        return
    if not html:
        raise UserError(
            "lorastream report",
            expected="--html with --out",
            got=f"--out {out} alone",
            next_step=f"lorastream report FOLDER --html --out {out}",
        )
    if out.is_dir() or not out.parent.is_dir():
        got = "a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise UserError(
            f"--out {out}", expected="a file in a folder that is there", got=got, next_step="name a file: page.html"
        )
