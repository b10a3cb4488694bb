"""A learner as a plain classifier in another library's form, compared with the learner before it is left on disk."""

from lorastream.export.exporter import Exported
from lorastream.export.write import TARGETS, export_model

__all__ = ["TARGETS", "Exported", "export_model"]
