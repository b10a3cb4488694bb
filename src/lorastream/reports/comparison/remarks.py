"""What a reader must know before comparing: what was left out, and what differs between runs that stand together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lorastream.reports.units import counted, percent
from lorastream.runs import RunRecord

_LONGEST_FAILURE = 80
_NAMED_AT_MOST = 4


def left_out(records: Sequence[RunRecord]) -> list[str]:
    """Name the runs that did not finish: how far each came, and why it ended."""
    return [
        f"{record.method}, seed {record.seed}: {_ending(record)}"
        for record in records
        if record.status != "finished" or not record.accuracy_matrix
    ]


def remarks(rows: Sequence[tuple[str, Sequence[RunRecord]]]) -> list[str]:
    """Say what differs between the runs of a table though it does not keep them apart.

    Args:
        rows: the name of each line and its runs.
    """
    records = [record for _, runs in rows for record in runs]
    told = _repeats(rows)
    told += _differing("Times and memory do not compare: machines", records, _machine)
    told += _differing("Precision differs", records, _precision)
    told += _differing(
        "Class orders of one seed differ, so those runs are no pairs: seeds", _order_clashes(records), str
    )
    told += _differing("Fingerprints of the data differ; taken as the same data", records, _fingerprint)
    told += _differing("Code versions differ", records, _version)
    unmeasured = [name for name, runs in rows if all(record.average_accuracy is None for record in runs)]
    return told + ([f"Without an accuracy, and so without a rank: {_listed(unmeasured)}."] if unmeasured else [])


def _ending(record: RunRecord) -> str:
    learnt, planned = len(record.accuracy_matrix), len(record.tasks)
    if record.status == "finished":
        return "finished without a task"
    after = f"{record.status} after {learnt} of {planned} tasks"
    why = " ".join((record.failure or "").split())
    return f"{after}: {why[:_LONGEST_FAILURE]}{'...' if len(why) > _LONGEST_FAILURE else ''}" if why else after


def _repeats(rows: Sequence[tuple[str, Sequence[RunRecord]]]) -> list[str]:
    """Name the seeds that were run more than once and came to something else each time."""
    told: list[str] = []
    for name, runs in rows:
        for seed in sorted({record.seed for record in runs}):
            same = [record for record in runs if record.seed == seed]
            found = sorted({percent(record.average_accuracy) for record in same})
            orders = {record.tasks for record in same}
            if len(found) > 1 and len(orders) == 1:
                told.append(
                    f"{name}, seed {seed} was run {len(same)} times ({', '.join(found)}); their mean counts once."
                )
    return told


def _order_clashes(records: Sequence[RunRecord]) -> list[int]:
    orders: dict[int, set[object]] = {}
    for record in records:
        orders.setdefault(record.seed, set()).add(record.tasks)
    return sorted(seed for seed, found in orders.items() if len(found) > 1)


def _differing(what: str, things: Sequence[object], told: Callable[..., str | None]) -> list[str]:
    """Say what the different answers are, where there is more than one; for a list of clashes, where there is any."""
    values = sorted({value for value in map(told, things) if value})
    enough = 1 if told is str else 2
    return [f"{what}: {_listed(values)}."] if len(values) >= enough else []


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _machine(record: RunRecord) -> str:
    device = record.device
    parts = [counted(device.threads, "thread")] if device.threads and device.kind == "cpu" else []
    parts += [f"{device.processes} processes"] if device.processes > 1 else []
    return (device.name or device.kind) + (f" ({', '.join(parts)})" if parts else "")


def _precision(record: RunRecord) -> str:
    return record.device.precision


def _fingerprint(record: RunRecord) -> str | None:
    return record.dataset.fingerprint[:8] if record.dataset and record.dataset.fingerprint else None


def _version(record: RunRecord) -> str | None:
    return record.versions.get("commit") or record.versions.get("lorastream")
