"""Time of a training step as tasks add up: ours, the floor, and the released codes' way (targets 1, 2 and 3).

    python benchmarks/step_cost.py            # float32, and bf16 where the processor has units for it
    python benchmarks/step_cost.py --rounds 7        # on a noisy machine: 20 minutes
    python benchmarks/step_cost.py --shape vit_ti_16 --loop-batch 32     # the released codes' way, five minutes
    python benchmarks/step_cost.py --device cuda
    python benchmarks/step_cost.py --batch 32 --no-loops               # where what tasks add weighs more
    python benchmarks/step_cost.py --shape vit_b_16 --batch 32 --whole --no-loops    # all twelve blocks of ViT-B

The ways are defined in code: the floor and ours, `sd_lora` and `inf_lora`, in `networks.py`, the released codes' in
`released.py`. Rank 10, random weights. A step is a forward and a backward pass without the optimiser's; ours composes
anew at each, as after an optimiser's step. Ways to be compared take turns in one process.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    Timed,
    apart,
    console,
    figure,
    matrix_rate,
    operations,
    precisions,
    print_table,
    ratio,
    start,
    take_turns,
    times_row,
)
from networks import Setup
from ways import FLOOR, Way, fitting, step_of


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured for each shape and precision, and how long that may take.

    Attributes:
        tasks: for each of our methods, the numbers of tasks; none where the released ways are measured alone. InfLoRA
            folds what is past into one term, and its step is the same from the second task on: one number says all.
        loop_tasks: for each of the released ways, which become long, the numbers of tasks.
        seconds: for the rounds of ours, and for those of the loops.
        rounds: at least so many of each.
    """

    tasks: Mapping[str, Sequence[int]]
    loop_tasks: Mapping[str, Sequence[int]]
    seconds: tuple[float, float]
    rounds: tuple[int, int]


WHOLE = Plan(
    tasks={"sd_lora": (1, 10, 100, 1000), "inf_lora": (10,)},
    loop_tasks={"sd_lora": (10, 50), "inf_lora": (10, 50)},
    seconds=(30.0, 20.0),
    rounds=(3, 3),
)
QUICK = Plan(
    tasks={"sd_lora": (1, 10, 100, 1000), "inf_lora": (10,)},
    loop_tasks={"sd_lora": (1, 10), "inf_lora": (10,)},
    seconds=(2.0, 1.0),
    rounds=(2, 1),
)


def measure(setup: Setup, plan: Plan) -> tuple[list[Json], list[Json]]:
    """Measure one shape in one precision; return its rows and its figures."""
    rows: list[Json] = []
    figures: list[Json] = []
    if plan.tasks:
        ours = [Way(FLOOR, 0), *(Way(method, tasks) for method, numbers in plan.tasks.items() for tasks in numbers)]
        first = _turns(setup, ours, plan.seconds[0], plan.rounds[0])
        rows, figures = _rows(setup, ours, first, _operations(setup)), _against_floor(plan, first)
    small = fitting(setup) if plan.tasks else setup
    for method, numbers in plan.loop_tasks.items():
        pairs = [Way(method, tasks, looped) for tasks in numbers for looped in (False, True)]
        second = _turns(small, pairs, plan.seconds[1] / len(plan.loop_tasks), plan.rounds[1])
        rows += _rows(small, [way for way in pairs if way.looped], second, {})
        for loop in (way for way in pairs if way.looped and way.name in second):
            slower = ratio(second, loop.name, Way(method, loop.tasks).name)
            figures.append(figure("loop over ours", slower, method=method, tasks=loop.tasks))
    where = {"shape": setup.shape.name, "precision": setup.precision}
    return [{**where, **row} for row in rows], [{**one, **where} for one in figures]


def _turns(setup: Setup, ways: Sequence[Way], seconds: float, least: int) -> dict[str, list[float]]:
    steps = {way.name: step_of(setup, way) for way in ways}
    timed = {name: Timed(step.take, step.refresh) for name, step in steps.items()}
    console.print(f"[dim]{setup.shape.described}, {setup.precision}: {', '.join(timed)}[/dim]")
    # A GPU chooses its kernels at the first call, a processor only fills its pools.
    for name in list(timed) if setup.device == "cuda" else list(timed)[:1]:
        if not _fits(timed[name]):
            console.print(f"{name}: out of memory on this card, left out")
            del timed[name]
    times = take_turns(timed, device=setup.device, seconds=seconds, least=least)
    del steps, timed
    gc.collect()
    return times


def _fits(step: Timed) -> bool:
    """Take a step once, uncounted; return whether the memory was enough."""
    try:
        step.before()
        step.work()
    except torch.OutOfMemoryError:
        return False
    return True


def _operations(setup: Setup) -> dict[str, int]:
    """Count the operations of a step of the floor and of ours; of one image, for they grow in step with the batch."""
    small = replace(setup, shape=replace(setup.shape, batch=1), precision="fp32")
    ways = [Way(FLOOR, 0), Way("sd_lora", 1)]
    return {way.name: operations(step_of(small, way).take) * setup.shape.batch for way in ways}


def _rows(
    setup: Setup, ways: Sequence[Way], times: Mapping[str, Sequence[float]], counts: Mapping[str, int]
) -> list[Json]:
    rate = matrix_rate(setup.device, setup.precision) if counts else 0.0
    rows: list[Json] = []
    for way in (one for one in ways if one.name in times):
        row: Json = {"method": way.method, "looped": way.looped, "tasks": way.tasks, "batch": setup.shape.batch}
        row |= times_row(times[way.name])
        row["images_a_second"] = 1000 * setup.shape.batch / row["milliseconds"]
        if FLOOR in times:
            row["over_floor"] = ratio(times, way.name, FLOOR)
        if way.name in counts:
            row["operations"] = counts[way.name]
            row["share_of_matrix_rate"] = counts[way.name] / (row["milliseconds"] / 1000) / rate
        rows.append(row)
    return rows


def _against_floor(plan: Plan, times: Mapping[str, Sequence[float]]) -> list[Json]:
    found: list[Json] = []
    for method, numbers in plan.tasks.items():
        for tasks in numbers:
            name, at = Way(method, tasks).name, {"method": method, "tasks": tasks}
            found.append(figure("step over floor", ratio(times, name, FLOOR), **at))
            if 1 in numbers:
                found.append(figure("step over first task's", ratio(times, name, Way(method, 1).name), **at))
    return found


def show(setup: Setup, rows: Sequence[Json]) -> None:
    """Print one shape's table."""
    cells = [
        (
            row["method"] + f", released way, batch {row['batch']}" * row["looped"],
            f"{row['tasks']:,}" if row["tasks"] else "",
            f"{row['milliseconds']:,.1f}",
            f"{row['over_floor']:.3f}" if "over_floor" in row else "",
            f"{row['images_a_second']:,.1f}",
            f"{row['share_of_matrix_rate']:.0%}" if "share_of_matrix_rate" in row else "",
        )
        for row in rows
    ]
    headings = ("step", "tasks", "ms", "over\nfloor", "images\na second", "of matrix\nrate")
    print_table(f"{setup.shape.described}, {setup.precision}", headings, cells)


def main(
    device: OnDevice = "cpu",
    quick: Quick = False,
    shape: Annotated[str, typer.Option(help="Only this one: vit_ti_16 or vit_b_16.")] = "",
    batch: Annotated[int | None, typer.Option(help="Images a step; 128 as in the papers.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="All 12 blocks of every network.")] = False,
    loops: Annotated[bool, typer.Option(help="The released codes' way too.")] = True,
    loop_batch: Annotated[
        int | None, typer.Option(help="Only the released codes' way and ours, at this batch.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="At least so many of each, where machines are noisy.")] = None,
    out: Out = None,
) -> None:
    """Measure, print and write."""
    plan = QUICK if quick else WHOLE
    if not loops:
        plan = replace(plan, loop_tasks={})
    if loop_batch:
        plan, batch = replace(plan, tasks={}), loop_batch
    if rounds:
        plan = replace(plan, rounds=(rounds, rounds))
    variant = apart(shape=shape, batch=batch, whole=whole, loops=loop_batch is not None)
    place = Place(name="step_cost", device=device, quick=quick, out=out, variant=variant)
    kinds, left_out = precisions(device)
    if left_out:
        console.print(left_out)
    rows: list[Json] = []
    figures: list[Json] = []
    chosen = [one for one in networks.shapes(device, quick=quick, batch=batch) if shape in ("", one.name)]
    if whole:
        chosen = [replace(one, depth=networks.WHOLE_DEPTH) for one in chosen]
    for one in chosen:
        for precision in kinds:
            setup = Setup(shape=one, device=device, precision=precision)
            new_rows, new_figures = measure(setup, plan)
            show(setup, new_rows)
            rows += new_rows
            figures += new_figures
    shapes = {one.name: one.described for one in chosen}
    place.write(figures, shapes=shapes, precisions=kinds, left_out=left_out, rank=networks.RANK, rows=rows)


if __name__ == "__main__":
    start(main)
