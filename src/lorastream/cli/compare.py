"""`lorastream report --compare`: methods beside each other, in the form that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lorastream.cli import screen
from lorastream.errors import UserError

if TYPE_CHECKING:
    from lorastream.runs.record import RunRecord

FORMS = ("json", "markdown", "csv", "latex", "html")
DEFAULT_PAGE = Path("comparison.html")


def show(
    records: Sequence[RunRecord], *, form: str | None, against: str | None, same_data: bool, out: Path | None
) -> None:
    """Compare runs and print what came of it, or write the page.

    Args:
        records: the runs.
        form: one of `FORMS`; None for tables on the terminal.
        against: the method that the others are compared with; None for the best.
        same_data: take data with different fingerprints as the same.
        out: where the page goes; None for `DEFAULT_PAGE`.

    Raises:
        UserError: nothing can be compared, or there is no such method.
        RunError: the page cannot be written.
    """
    from lorastream.reports.comparison import compare, documents, terminal

    comparison = compare(records, reference=against, same_data=same_data)
    if form is None:
        screen.show(*terminal.shown(comparison, width=screen.console().width))
    elif form == "html":
        from lorastream.files import write_atomically
        from lorastream.reports.comparison.page import page

        place = out or DEFAULT_PAGE
        write_atomically(place, page(comparison))
        screen.show(f"Saved in {place}")
    else:
        made = {"json": documents.as_json, "markdown": documents.markdown, "csv": documents.as_csv}
        typer.echo(made.get(form, documents.latex)(comparison), nl=False)


def check_options(chosen: Sequence[str], *, compare: bool, needs_compare: Sequence[str]) -> None:
    """Refuse two forms at once, and what says something of a comparison where none was asked for.

    Args:
        chosen: the forms asked for.
        compare: whether `--compare` is there.
        needs_compare: the options given that only a comparison has.

    Raises:
        UserError: what does not go together.
    """
    if len(chosen) > 1:
        given = " ".join(f"--{name}" for name in chosen)
        raise UserError("lorastream report", expected="one form", got=given, next_step="keep one of them")
    if needs_compare and not compare:
        raise UserError(
            "lorastream report",
            expected=f"--compare with {needs_compare[0]}",
            got=f"{needs_compare[0]} alone",
            next_step=f"lorastream report FOLDER --compare {needs_compare[0]}",
        )
