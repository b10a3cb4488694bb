"""`torch.compile` on and off: the same losses, and no compilation at every task (target 8).

    python benchmarks/compiled.py
    python benchmarks/compiled.py --device cuda

The bundled backbone learns tasks of equal size with SD-LoRA, once with `training.compile` and once without, from the
same seed; after each task the graphs compiled so far are read off torch's own counters.
"""

from __future__ import annotations

import time
from typing import Annotated

import torch
import torch._dynamo
import typer

from lorastream import Learner
from lorastream.training.settings import TrainingSettings
from measuring import Device, Json, Out, Place, console, figure, print_table, start

CLASSES_A_TASK = 4


def compiler_fault() -> str:
    """Return why nothing can be compiled here; empty where it can."""
    if "compile" not in TrainingSettings.model_fields:
        return "this release of lorastream has no training.compile"
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2))
    except Exception as error:  # noqa: BLE001 (whatever a missing compiler raises)
        return f"torch.compile does not work here: {str(error).strip().splitlines()[0]}"
    return ""


def learn(*, tasks: int, epochs: int, **more: bool) -> list[Json]:
    """Learn some tasks; return for each its losses, its seconds and the graphs compiled so far."""
    torch._dynamo.reset()  # noqa: SLF001 (torch has no public name for it)
    torch._dynamo.utils.counters.clear()  # noqa: SLF001
    training = {"epochs": epochs, "batch_size": 16, "lr": 0.05, **more}
    learner = Learner("glyph_vit", "sd_lora", training=training, transforms={"train": "gentle"}, rank=4)
    classes = tasks * CLASSES_A_TASK
    stream = learner.stream("synthetic", n_classes=classes, images_per_class=16, test_images_per_class=1, tasks=tasks)
    rows: list[Json] = []
    for task in stream:
        begun = time.perf_counter()
        learnt = learner.learn(task)
        losses = [epoch.loss for epoch in learnt.epochs]
        graphs = int(torch._dynamo.utils.counters["stats"]["unique_graphs"])  # noqa: SLF001
        rows.append({"losses": losses, "seconds": time.perf_counter() - begun, "graphs": graphs})
        rows[-1]["step_milliseconds"] = learnt.step_milliseconds
    return rows


def compare(off: list[Json], on: list[Json]) -> list[Json]:
    """Return the targets' figures."""
    pairs = [(a, b) for x, y in zip(off, on, strict=True) for a, b in zip(x["losses"], y["losses"], strict=True)]
    return [
        figure("losses' difference", max(abs(a - b) / abs(a) for a, b in pairs)),
        figure("compilations after the second task", on[-1]["graphs"] - on[1]["graphs"]),
    ]


def main(
    device: Annotated[Device, typer.Option(help="As for the others; lorastream takes a GPU itself.")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Three tasks and one epoch.")] = False,
    out: Out = None,
) -> None:
    """Measure, print and write."""
    place = Place(name="compiled", device=device, quick=quick, out=out)
    if left_out := compiler_fault():
        console.print(f"Not measured: {left_out}.")
        place.write([], left_out=left_out)
        return
    size = {"tasks": 3, "epochs": 1} if quick else {"tasks": 5, "epochs": 2}
    off, on = learn(**size), learn(**size, compile=True)
    if not on[-1]["graphs"]:
        left_out = "training.compile compiled nothing"
        console.print(f"Not measured: {left_out}.")
    cells = [
        (
            str(number),
            *(f"{row['losses'][-1]:.6f}" for row in pair),
            str(pair[1]["graphs"]),
            f"{pair[1]['seconds']:.1f}",
            *(f"{row['step_milliseconds']:.1f}" for row in pair),
        )
        for number, pair in enumerate(zip(off, on, strict=True), 1)
    ]
    headings = ("task", "last loss", "compiled", "graphs\nso far", "seconds,\ncompiled", "ms a\nstep", "compiled")
    print_table("torch.compile off and on, glyph_vit, SD-LoRA", headings, cells)
    place.write([] if left_out else compare(off, on), left_out=left_out, rows={"off": off, "on": on})


if __name__ == "__main__":
    start(main)
