"""Keeps the page of a run up to date while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lorastream.reports.page.run_page import PAGE, write_run_page
from lorastream.runs import RunRecord

_SECONDS_BETWEEN = 10.0


class LivePage:
    """Writes `report.html` whenever a record was written: at once where a run ended, else at most every ten seconds.

    A page that cannot be made harms no run: it is told once, and the run goes on.

    Args:
        tell: takes a sentence on what went wrong.
        clock: seconds, from any start.
    """

    def __init__(self, tell: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._last: float | None = None
        self._has_failed = False

    def __call__(self, record: RunRecord, folder: Path) -> None:
        """Take a record that was written to a folder."""
        now = self._clock()
        if record.status == "running" and self._last is not None and now - self._last < _SECONDS_BETWEEN:
            return
        try:
            write_run_page(record, folder)
        except Exception as error:  # noqa: BLE001 (whatever it is: hours of training are worth more than a picture)
            self._failed(error, folder)
        self._last = self._clock()

    def _failed(self, error: Exception, folder: Path) -> None:
        if not self._has_failed:
            reason = str(error).strip().replace("\n", "; ") or type(error).__name__
            self._tell(f"{folder / PAGE} could not be made: {reason}. Once mended: lorastream report {folder} --html")
        self._has_failed = True
