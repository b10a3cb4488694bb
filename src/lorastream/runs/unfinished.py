"""Runs that were stopped before their end: found, described and compared without torch.

A run keeps its states in the folder `resume` beside its record: `000007-task.safetensors` holds all that was known when
a task began, `000009-progress.safetensors` what the task has come to since. `training.states` writes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lorastream.errors import CheckpointError, Fault

RESUME = "resume"
STATE_FILE = re.compile(r"(\d{6,})-(task|progress)\.safetensors")
_RECORD = "record.json"
_LONGEST_HEADER = 100 * 2**20  # bytes; what safetensors itself takes
_FREE = frozenset(
    {
        *("data.root", "backbone.weights", "training.checkpoint_every", "training.skip_bad_batches"),
        *("training.evaluation_batch_size", "training.accumulation"),
    }
)
"""Keys of a recipe that may change between two sittings: where things lie, and what leaves the figures as they are."""


def state_files(folder: Path) -> dict[int, Path]:
    """Return the states in a folder by number, in order."""
    found = ((STATE_FILE.fullmatch(path.name), path) for path in folder.glob("*.safetensors"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def facts_of(path: Path) -> dict[str, Any]:
    """Return the plain values of a state, from its header alone; whether the rest is whole is not looked at.

    Raises:
        ValueError: the header is torn.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError("a header of impossible length")
        header = json.loads(file.read(length))
    facts = json.loads(header["__metadata__"]["facts"]) if _has_facts(header) else None
    if not isinstance(facts, dict):
        raise ValueError("a header without facts")  # noqa: TRY004 (whatever is wrong with it, the file is torn)
    return cast("dict[str, Any]", facts)


def status_of(folder: Path) -> str | None:
    """Return the status that a run's record tells; None where there is no record, "unknown" where it is torn."""
    try:
        document = json.loads((folder / _RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return "unknown"
    return str(cast("dict[str, Any]", document).get("status")) if isinstance(document, dict) else "unknown"


def is_unfinished(folder: Path) -> bool:
    """Whether a folder holds a run that can be gone on with: states, and no record that says it is finished."""
    return status_of(folder) != "finished" and bool(state_files(folder / RESUME))


def fault_of_unfinished(folder: Path) -> Fault:
    """Return what is to be told where a run would begin in a folder that holds an unfinished one."""
    step = "go on with it: the same command with --resume; or choose another folder with --out"
    return Fault(str(folder), "a folder without a run", f"an unfinished run, stopped {where_stopped(folder)}", step)


def where_stopped(folder: Path) -> str:
    """Return where the newest state of a run stands: "in task 3, after epoch 1 and 7 steps"."""
    for path in reversed(state_files(folder / RESUME).values()):
        try:
            facts = facts_of(path)
        except (OSError, ValueError):
            continue
        return stopped_at(facts)
    return "at its beginning"


def stopped_at(facts: Mapping[str, Any]) -> str:
    """Return where a state stands, in words."""
    task, epoch, step = int(facts.get("index", 0)) + 1, int(facts.get("epoch", 0)), int(facts.get("step", 0))
    if not epoch and not step:
        return f"before task {task}"
    done = [_count(epoch, "epoch")] * bool(epoch) + [_count(step, "step")] * bool(step)
    return f"in task {task}, after {' and '.join(done)}"


def differences(kept: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return where a recipe is no longer the one that a run began with, as `key: then, now`."""
    before, after = _flat(kept), _flat(now)
    # A key of [training] that is new in this release leaves things as they were where nobody sets it.
    missing = {key for key in after if key not in before and key.startswith("training.")}
    keys = sorted((before.keys() | after.keys()) - _FREE - missing)
    return [
        f"{key}: {_told(before, key)} then, {_told(after, key)} now"
        for key in keys
        if not key.startswith("published.") and before.get(key, ...) != after.get(key, ...)
    ]


def check_same(folder: Path, kept: Mapping[str, Any], now: Mapping[str, Any], *, of: str = "recipe") -> None:
    """See that a run is gone on with by what it began with.

    Args:
        folder: that the states belong to.
        kept: what it began with.
        now: what is asked for.
        of: what these are, in a word.

    Raises:
        CheckpointError: they differ where it matters.
    """
    found = differences(kept, now)
    if found:
        raise CheckpointError(
            f"{folder}, --resume",
            expected=f"the {of} that the run began with",
            got="; ".join(found[:4]) + (f"; and {len(found) - 4} more" if len(found) > 4 else ""),  # noqa: PLR2004
            next_step="give the same arguments again, or begin anew: without --resume, in another folder",
        )


def latest(root: Path, recipe: Mapping[str, Any], method: str, seed: int) -> Path | None:
    """Return the newest run of a recipe below a folder of runs: unfinished if there is one, else finished, else None.

    Args:
        root: `<root>/<recipe>/<method>/<seed>-<id>` are the runs.
        recipe: resolved; runs of another are passed over.
        method: of the run.
        seed: of the run.
    """
    found: list[tuple[bool, float, Path]] = []
    for path in root.glob(f"*/*/{seed}-*/{_RECORD}"):
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if path.parent.parent.name == method and not differences(_table(_table(document).get("recipe")), recipe):
            unfinished = is_unfinished(path.parent)
            if unfinished or _table(document).get("status") == "finished":
                found.append((unfinished, path.stat().st_mtime, path.parent))
    return max(found)[2] if found else None


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
        flat |= inner
    # As JSON has it: tuples are lists there.
    return {key: json.loads(json.dumps(value)) for key, value in flat.items()} if not prefix else flat


def _told(flat: Mapping[str, Any], key: str) -> str:
    return json.dumps(flat[key], ensure_ascii=False) if key in flat else "nothing"


def _table(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _has_facts(header: object) -> bool:
    return isinstance(_table(_table(header).get("__metadata__")).get("facts"), str)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
