"""Classifiers on features: one that learns and grows, one of class means; and what aligns the first."""

from lorastream.heads.alignment import Alignment
from lorastream.heads.linear import LinearHead
from lorastream.heads.prototype import PrototypeHead
from lorastream.heads.statistics import ClassStatistics, features_by_class, load_statistics, new_statistics

__all__ = [
    "Alignment",
    "ClassStatistics",
    "LinearHead",
    "PrototypeHead",
    "features_by_class",
    "load_statistics",
    "new_statistics",
]
