"""The accuracy matrix and the numbers read off it. Needs NumPy only."""

from lorastream.metrics.accuracy_matrix import AccuracyMatrix
from lorastream.metrics.summaries import Summary, summarise

__all__ = ["AccuracyMatrix", "Summary", "summarise"]
