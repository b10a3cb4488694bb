"""The residuals of SD-LoRA-KD under every reading, and at which of them the published threshold decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lorastream.reports.text import grid
from lorastream.runs import RunRecord

PUBLISHED_THRESHOLD = 9e-4
"""SD-LoRA (ICLR 2025), section 4: absorbed where the residual is at most this; which residual, it does not say."""

NORMS = {"exact": "‖U D‖", "product": "‖U‖ ‖D‖", "none": "nothing"}
READINGS = {"fro": "norm", "fro2": "squared norm", "rms": "root mean square", "mse": "mean square"}


def residuals_markdown(records: Sequence[RunRecord]) -> str:
    """Return a Markdown table: the least and the largest residual over tasks and runs, and how often it is low enough.

    A row says what a direction is divided by, a column how the residual is measured.
    """
    rows = [
        [divisor, *(_cell(list(_values(records, norm, reading))) for reading in READINGS)]
        for norm, divisor in NORMS.items()
    ]
    return grid(["directions divided by", *READINGS.values()], rows)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    absorbed = sum(value <= PUBLISHED_THRESHOLD for value in values)
    often = {0: "never", len(values): "always"}.get(absorbed, f"{absorbed} of {len(values)}")
    return f"{min(values):.2g} to {max(values):.2g}: {often}"


def _values(records: Sequence[RunRecord], norm: str, reading: str) -> Iterator[float]:
    """Yield the residual of every task that had older directions to be fitted by."""
    for record in records:
        for figures in record.figures_per_task[1:]:
            residuals = figures.get("residuals")
            of_norm = residuals.get(norm) if isinstance(residuals, dict) else None
            value = of_norm.get(reading) if isinstance(of_norm, dict) else None
            if isinstance(value, int | float):
                yield float(value)
