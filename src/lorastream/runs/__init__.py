"""Runs on disk: one run is one JSON document in one folder."""

from lorastream.runs.record import RunRecord, TaskResult
from lorastream.runs.store import find, new_folder, read, write

__all__ = ["RunRecord", "TaskResult", "find", "new_folder", "read", "write"]
