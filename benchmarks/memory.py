"""Memory that a training step keeps from the forward to the backward pass, as tasks add up (target 4).

    python benchmarks/memory.py               # counted, so the same on every machine but for the kernels it chooses
    python benchmarks/memory.py --device cuda # and the peak on the card

Counted are the distinct storages that autograd saves; what was there before the pass (parameters, constants, images) is
not. Beside it stands what the pass leaves alive in any way, saved or not: nothing hides from that.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch
import typer

import networks
from measuring import (
    Json,
    OnDevice,
    Out,
    Place,
    Quick,
    apart,
    console,
    figure,
    kept_bytes,
    peak_bytes,
    precisions,
    print_table,
    start,
)
from networks import Setup
from ways import FLOOR, Way, fitting, step_of

TASKS, LOOP_TASKS = (1, 10, 100, 1000), (1, 10, 50)
USUAL = {"vit_ti_16": 32, "vit_b_16": 16}
ENDS = (1, 1000)
"""Of ViT-B on a processor, where each count takes seconds."""
PEAK_TASKS = (1, 50)


def measure(setup: Setup, tasks: Sequence[int], loop_tasks: Sequence[int]) -> list[Json]:
    """Count for the floor, ours and the loops; one row each."""
    numbers = sorted({*tasks, *(PEAK_TASKS if setup.device == "cuda" else ())})
    ways = [Way(FLOOR, 0)]
    ways += [Way("sd_lora", number) for number in numbers]
    ways += [Way("inf_lora", number) for number in (numbers[0], numbers[-1])]
    loops = [Way("sd_lora", number, looped=True) for number in loop_tasks]
    loops += [Way("inf_lora", number, looped=True) for number in loop_tasks[-1:]]
    rows = [*(_row(setup, way) for way in ways), *(_row(fitting(setup), way) for way in loops)]
    return [row for row in rows if row is not None]


def _row(setup: Setup, way: Way) -> Json | None:
    """Count one way's bytes; None where the card's memory is not enough for it."""
    try:
        return _counted(setup, way)
    except torch.OutOfMemoryError:
        console.print(f"{way.name}: out of memory on this card, left out")
        return None


def _counted(setup: Setup, way: Way) -> Json:
    step = step_of(setup, way)
    step.refresh()
    kept = kept_bytes(step.forward)
    row: Json = {"shape": setup.shape.name, "precision": setup.precision}
    row |= {"method": way.method, "looped": way.looped, "tasks": way.tasks, "batch": setup.shape.batch}
    row |= {"saved_bytes": kept.saved, "held_bytes": kept.held}
    if setup.device == "cuda":
        row["peak_bytes"] = peak_bytes(step.take)
    del step
    gc.collect()
    return row


def figures_of(rows: Sequence[Json]) -> list[Json]:
    """Return the targets' figures of one shape's rows."""
    saved = {(row["method"], row["tasks"]): row["saved_bytes"] for row in rows if not row["looped"]}
    where = {"shape": rows[0]["shape"], "precision": rows[0]["precision"]}
    found: list[Json] = []
    for (method, tasks), number in saved.items():
        if method != FLOOR:
            at = {**where, "method": method, "tasks": tasks}
            found.append(figure("saved bytes beyond first task's", number - saved[method, 1], **at))
            found.append(figure("saved bytes over floor", number / saved[FLOOR, 0], **at))
    return found


def show(setup: Setup, rows: Sequence[Json]) -> None:
    """Print one shape's table."""
    floor = rows[0]["saved_bytes"] / rows[0]["batch"]
    cells = [
        (
            row["method"] + (f", released way, batch {row['batch']}" if row["looped"] else ""),
            f"{row['tasks']:,}" if row["tasks"] else "",
            f"{row['saved_bytes']:,}",
            f"{row['saved_bytes'] / row['batch'] / floor:.3f}",
            f"{row['held_bytes']:,}",
            f"{row['peak_bytes'] / 1e9:.2f}" if row.get("peak_bytes") else "",
        )
        for row in rows
    ]
    headings = ("step", "tasks", "saved, bytes", "an image,\nover floor", "alive, bytes", "peak,\nGB")
    print_table(f"{setup.shape.described}, {setup.precision}", headings, cells)


def main(
    device: OnDevice = "cpu",
    quick: Quick = False,
    batch: Annotated[
        int | None, typer.Option(help="Images a step; 32 (ViT-B 16) on a processor, 128 on a GPU.")
    ] = None,
    out: Out = None,
) -> None:
    """Count, print and write."""
    place = Place(name="memory", device=device, quick=quick, out=out, variant=apart(batch=batch))
    kinds, left_out = precisions(device)
    if left_out:
        console.print(left_out)
    rows: list[Json] = []
    figures: list[Json] = []
    chosen = networks.shapes(device, quick=quick, batch=batch)
    if not quick:  # a forward pass alone is counted, which a processor can take through all blocks
        chosen = [replace(one, depth=networks.WHOLE_DEPTH) for one in chosen]
    if device == "cpu" and batch is None and not quick:
        chosen = [replace(one, batch=USUAL[one.name]) for one in chosen]
    for shape in chosen:
        for precision in kinds:
            setup = Setup(shape=shape, device=device, precision=precision)
            small = shape.name == "vit_ti_16"
            loops = () if not small and device == "cpu" else LOOP_TASKS[:2] if quick else LOOP_TASKS
            new = measure(setup, TASKS if small or device == "cuda" else ENDS, loops)
            show(setup, new)
            rows += new
            figures += figures_of(new)
    shapes = {one.name: one.described for one in chosen}
    place.write(figures, shapes=shapes, precisions=kinds, left_out=left_out, rows=rows)


if __name__ == "__main__":
    start(main)
