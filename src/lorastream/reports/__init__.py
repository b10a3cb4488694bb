"""What people look at: tables of finished runs. Reads records only, and loads no torch."""

from lorastream.reports.magnitudes import have_magnitudes, magnitudes_markdown, magnitudes_table
from lorastream.reports.residuals import residuals_markdown
from lorastream.reports.tables import accuracy_matrices, closing_line, summary_table
from lorastream.reports.text import as_json, markdown

__all__ = [
    "accuracy_matrices",
    "as_json",
    "closing_line",
    "have_magnitudes",
    "magnitudes_markdown",
    "magnitudes_table",
    "markdown",
    "residuals_markdown",
    "summary_table",
]
