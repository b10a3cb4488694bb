"""Classifiers on features: one that learns and grows, one of class means."""

from lorastream.heads.linear import LinearHead
from lorastream.heads.prototype import PrototypeHead

__all__ = ["LinearHead", "PrototypeHead"]
