"""Methods beside each other: which runs may be compared, what came of them, and whether a difference means anything."""

from lorastream.reports.comparison.compare import Comparison, Row, Setting, compare

__all__ = ["Comparison", "Row", "Setting", "compare"]
