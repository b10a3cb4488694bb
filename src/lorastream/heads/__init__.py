"""Classifiers on features: one that learns and grows, one of class means; and what aligns the first."""

from lorastream.heads.alignment import Alignment
from lorastream.heads.calibration import Calibration
from lorastream.heads.features import features_by_class
from lorastream.heads.linear import LinearHead
from lorastream.heads.prototype import PrototypeHead
from lorastream.heads.statistics import ClassStatistics, load_statistics, new_statistics

__all__ = [
    "Alignment",
    "Calibration",
    "ClassStatistics",
    "LinearHead",
    "PrototypeHead",
    "features_by_class",
    "load_statistics",
    "new_statistics",
]
