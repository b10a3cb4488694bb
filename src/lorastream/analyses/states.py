"""The model after each task of a finished run, of which the folder holds the last one only.

Where a method keeps every update and its past never changes, earlier models are the first part of the last one, with
the magnitudes that the record has: exactly what was computed then. Other runs are replayed once, and what the model was
after each task is kept under `analyses/replay`; a run is deterministic on one machine, and how far the replay ended
from the run is kept beside it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from lorastream import experiment
from lorastream.adapters.directions import norm_of
from lorastream.analyses.opening import MODEL
from lorastream.analyses.options import Progress
from lorastream.analyses.result import folder_of
from lorastream.analyses.training_progress import TrainingProgress
from lorastream.files import write_atomically
from lorastream.methods.lora_sum import LoRASum
from lorastream.methods.protocol import Method
from lorastream.methods.sd_lora import SDLoRA
from lorastream.recipes.schema import Recipe
from lorastream.runs.record import RunRecord
from lorastream.training.checkpoint import read_model

Parts = Mapping[str, dict[str, Tensor]]
REPLAY = "replay"
SAME = "differences.json"
_NEAR = 1e-4


@dataclass(frozen=True)
class Learnt:
    """A model after some task: its tensors by part, and the class names of every task."""

    parts: dict[str, dict[str, Tensor]]
    classes: list[list[str]]


State = Callable[[], Learnt]


def kept_states(
    method: Method, record: RunRecord, recipe: Recipe, facts: Mapping[str, Any], parts: Parts
) -> list[State] | None:
    """Return the model after each task, read off the last one; None where that does not hold them all.

    Args:
        method: with the run's hyper-parameters.
        record: of the run.
        recipe: of the run.
        facts: of the last model.
        parts: its tensors.
    """
    if recipe.training.alignment is not None or not _keeps_all(method):
        return None
    adapters, head = parts["adapters"], parts["head"]
    names = sorted(name.removesuffix("/ranks") for name in adapters if name.endswith("/ranks"))
    n_tasks = len(record.accuracy_matrix)
    if any(len(adapters[f"{name}/ranks"]) != n_tasks for name in names):
        return None
    states: list[State] = []
    for n in range(1, n_tasks + 1):
        scales: dict[str, Tensor] = {}
        for name in names:
            scale = _scale(method, record, adapters, name, n)
            if scale is None:
                return None
            scales[name] = scale
        states.append(_state(adapters, head, facts["classes"][:n], scales, n))
    last = states[-1]().parts["adapters"]
    if not all(torch.allclose(last[f"{name}/scale"], adapters[f"{name}/scale"], _NEAR, _NEAR) for name in names):
        return None
    return states


def _keeps_all(method: Method) -> bool:
    """Whether updates and head rows of past tasks stay as they are, and the record tells the rest."""
    if isinstance(method, SDLoRA):
        shared_and_carried = method.carry_magnitudes and method.magnitude_scope == "shared"
        return method.absorb == "no" and not shared_and_carried
    return isinstance(method, LoRASum) and method.penalty == "orthogonal"


def _scale(method: Method, record: RunRecord, adapters: Mapping[str, Tensor], name: str, n: int) -> Tensor | None:
    """Return `[R]`, the scale of an adapter's columns after task n; None where the record does not tell."""
    ranks: list[int] = adapters[f"{name}/ranks"][:n].tolist()
    stored = adapters[f"{name}/scale"]
    if not isinstance(method, SDLoRA):
        return stored[: sum(ranks)]
    values: Any = record.figures_per_task[n - 1].get("magnitudes") if len(record.figures_per_task) >= n else None
    magnitudes = cast("list[Any]", values) if isinstance(values, list) else []
    if len(magnitudes) != n or any(isinstance(value, list) for value in magnitudes):
        return None  # where each projection has its own, the record does not name them
    ups = adapters[f"{name}/up"][:, : sum(ranks)].split(ranks, dim=1)
    downs = adapters[f"{name}/down"][: sum(ranks)].split(ranks)
    columns: list[Tensor] = []
    for k, (value, up, down) in enumerate(zip(magnitudes, ups, downs, strict=True)):
        raw = k == n - 1 and not method.normalise_current
        norm = up.new_ones(()) if raw else norm_of(up, down, method.norm)
        columns.append((value / norm).expand(ranks[k]))
    return torch.cat(columns)


def _state(
    adapters: Mapping[str, Tensor],
    head: Mapping[str, Tensor],
    classes: list[list[str]],
    scales: Mapping[str, Tensor],
    n: int,
) -> State:
    def read() -> Learnt:
        tensors: dict[str, Tensor] = {}
        for name, scale in scales.items():
            columns = len(scale)
            tensors[f"{name}/ranks"] = adapters[f"{name}/ranks"][:n]
            tensors[f"{name}/up"] = adapters[f"{name}/up"][:, :columns]
            tensors[f"{name}/down"] = adapters[f"{name}/down"][:columns]
            tensors[f"{name}/scale"] = scale
        rows = sum(map(len, classes))
        return Learnt({"adapters": tensors, "head": {key: t[:rows] for key, t in head.items()}}, classes)

    return read


def replayed_states(recipe: Recipe, record: RunRecord, folder: Path, parts: Parts, progress: Progress) -> list[State]:
    """Return the model after each task from a replay of the run, made now unless there is one already.

    Args:
        recipe: of the run.
        record: of the run.
        folder: of the run.
        parts: the tensors of its last model, which the replay is compared with.
        progress: told how far it is.
    """
    place = folder_of(folder) / REPLAY
    if not place.is_dir():
        _replay(recipe, record, place, parts, progress)
    return [_kept(place / f"{n:04}") for n in range(1, len(record.accuracy_matrix) + 1)]


def replay_note(folder: Path) -> str | None:
    """Return a sentence on how near the replay of a run came to it; None where it was not replayed."""
    path = folder_of(folder) / REPLAY / SAME
    if not path.is_file():
        return None
    found = json.loads(path.read_text("utf-8"))
    return (
        f"The weights after each task come from a replay of the run; it ended {found['largest_weight']:.1g} from the "
        f"stored weights, and {100 * found['largest_accuracy']:.1f} points from the recorded accuracies, at most."
    )


def _kept(place: Path) -> State:
    def read() -> Learnt:
        facts, parts = read_model(place)
        return Learnt(parts, facts["classes"])

    return read


def _replay(recipe: Recipe, record: RunRecord, place: Path, parts: Parts, progress: Progress) -> None:
    """Run the recipe again elsewhere, keep each model, and put all of them in place at once."""
    unfinished = place.with_name(f"{place.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)

    def keep(so_far: RunRecord, run: Path) -> None:
        kept = unfinished / f"{len(so_far.accuracy_matrix):04}"
        if so_far.accuracy_matrix and not kept.is_dir():
            shutil.copytree(run / MODEL, kept)

    listen = TrainingProgress(progress, total=len(record.accuracy_matrix), doing="replaying the run")
    with tempfile.TemporaryDirectory() as work:  # elsewhere, so that no report takes it for a run of its own
        again, run = experiment.run(recipe, Path(work) / "run", listen=listen, recorded=keep)
        _, ended = read_model(run / MODEL)
    accuracies = zip(record.accuracy_matrix, again.accuracy_matrix, strict=True)
    differences = [abs((a or 0.0) - (b or 0.0)) for one, other in accuracies for a, b in zip(one, other, strict=True)]
    same = {"largest_weight": _largest_difference(parts, ended), "largest_accuracy": max(differences)}
    write_atomically(unfinished / SAME, json.dumps(same) + "\n")
    unfinished.rename(place)


def _largest_difference(parts: Parts, others: Parts) -> float:
    """Return the largest difference of any weight of adapters, head or backbone; infinite where shapes differ."""
    largest = 0.0
    for part in ("adapters", "head", "backbone"):
        for name, tensor in parts.get(part, {}).items():
            other = others.get(part, {}).get(name)
            if other is None or other.shape != tensor.shape:
                return 1e30
            if tensor.numel():
                largest = max(largest, float((tensor.double() - other.double()).abs().max()))
    return largest
