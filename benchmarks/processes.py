"""What a second process brings on this machine: one run with one process, with two, and with two threads instead.

    python benchmarks/processes.py

Each is a run of its own, in turns, with the same images a step; the figure is the median of its optimiser steps. A busy
neighbour slows two processes more than one, which waits for nobody: look at the rounds before believing the efficiency.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from measuring import ROOT, Json, OnAnyDevice, Out, Place, figure, print_table, start

RECIPE = ["digits", "stream.tasks=2", "training.batch_size=64", "--quiet"]
WAYS = {"one process": (1, 1), "two processes": (2, 1), "one process, two threads": (1, 2)}
"""For each way the processes, and the threads of each."""


def step_milliseconds(processes: int, threads: int, *, epochs: int) -> float:
    """Return the median time of an optimiser step of a run, over its tasks."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    started = [sys.executable, "-m", *(launcher if processes > 1 else []), "lorastream"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        command = [*started, "run", *RECIPE, f"training.epochs={epochs}", "--out", str(out)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        record = json.loads((out / "record.json").read_text("utf-8"))
    return statistics.mean(record["step_milliseconds_per_task"])


def main(
    device: OnAnyDevice = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="One round of one epoch.")] = False,
    out: Out = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often every way is taken.")] = 3,
) -> None:
    """Measure, print and write."""
    place = Place(name="processes", device=device, quick=quick, out=out)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(1 if quick else rounds):
        for way, (processes, threads) in WAYS.items():
            times[way].append(step_milliseconds(processes, threads, epochs=1 if quick else 2))
    found = {way: statistics.median(own) for way, own in times.items()}
    alone = found["one process"]
    rows: list[Json] = [
        {"way": way, "milliseconds": value, "times as fast": alone / value, "rounds": times[way]}
        for way, value in found.items()
    ]
    cells = [(row["way"], f"{row['milliseconds']:.0f}", f"{row['times as fast']:.2f}") for row in rows]
    print_table("A step of 64 images, glyph_vit", ("way", "milliseconds", "times as fast"), cells)
    figures = [figure("step milliseconds", value, method=way) for way, value in found.items()]
    figures.append(figure("efficiency of two processes", alone / found["two processes"] / 2))
    place.write(figures, rows=rows, load=os.getloadavg()[0])


if __name__ == "__main__":
    start(main)
