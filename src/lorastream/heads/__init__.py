"""Classifiers on features: those that learn and grow, of class means, by regression; and what aligns the first."""

from lorastream.heads.alignment import Alignment
from lorastream.heads.calibration import Calibration
from lorastream.heads.cosine import CosineHead
from lorastream.heads.described import ClassStatistics
from lorastream.heads.discriminant import DiscriminantHead
from lorastream.heads.features import features_by_class
from lorastream.heads.linear import LinearHead
from lorastream.heads.prototype import PrototypeHead
from lorastream.heads.random_features import RandomFeatureHead
from lorastream.heads.ridge import RidgeHead
from lorastream.heads.statistics import load_statistics, new_statistics
from lorastream.heads.trained import TrainedHead
from lorastream.heads.truncated import TruncatedHead

__all__ = [
    "Alignment",
    "Calibration",
    "ClassStatistics",
    "CosineHead",
    "DiscriminantHead",
    "LinearHead",
    "PrototypeHead",
    "RandomFeatureHead",
    "RidgeHead",
    "TrainedHead",
    "TruncatedHead",
    "features_by_class",
    "load_statistics",
    "new_statistics",
]
