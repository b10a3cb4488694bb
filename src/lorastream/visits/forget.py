"""A stored model without one of its classes; the backbone is not needed for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from lorastream.heads import load_statistics
from lorastream.heads.kinds import load_head
from lorastream.prompts import load_prompts
from lorastream.training.checkpoint import read_model


def without_class(folder: Path, label: int) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Return a model's manifest as it stands, and its tensors without a class; the calibration holds on.

    Raises:
        CheckpointError: no model there, or it is damaged.
    """
    manifest, parts = read_model(folder)
    sizes = [len(task) for task in manifest["classes"]]
    head = load_head(parts["head"], sizes)
    head.forget(label)
    parts["head"] = head.tensors()
    if "statistics" in parts:
        statistics = load_statistics(parts["statistics"])
        statistics.forget(label)
        parts["statistics"] = statistics.tensors()
    if "prompts" in parts:
        prompts = load_prompts(parts["prompts"])
        prompts.forget(label)
        parts["prompts"] = prompts.tensors()
    return manifest, parts
