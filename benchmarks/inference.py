"""What prediction and InfLoRA's statistics cost (targets 5, 6 and 7).

    python benchmarks/inference.py
    python benchmarks/inference.py --device cuda

- The merged model against the plain timm model, the same batch, taking turns; its features against those of the adapted
  model that it was merged from.
- Evaluation of all classes seen after several tasks: how many images go through the backbone for each test image.
- InfLoRA's pass for the second moments of the layers' inputs against a plain forward pass.
- One update of InfLoRA's memory (DualGPM) for the twelve layers of a ViT-B/16.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

import networks
from lorastream import Learner
from lorastream.adapters import InputMoments
from lorastream.linalg import dual_gpm
from lorastream.linalg.dual_gpm import Memory
from lorastream.model import IncrementalClassifier
from measuring import (
    Json,
    OnDevice,
    Out,
    Place,
    Quick,
    Timed,
    apart,
    figure,
    precision_context,
    precisions,
    print_table,
    ratio,
    start,
    take_turns,
    times_row,
    wait,
)
from networks import Setup

TASKS = 10
LAYERS, WIDTH, THRESHOLDS = 12, 768, (0.98, 0.982)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long the rounds of a comparison may take, in seconds, and how many there are at least."""

    seconds: float
    rounds: int


def merged_over_plain(setup: Setup, budget: Budget) -> tuple[list[Json], list[Json]]:
    """Compare the merged model with the plain timm model after `TASKS` tasks; return rows and figures.

    On a processor by a quarter of the batch: the networks are equal, so more and shorter rounds say more.
    """
    if setup.device == "cpu":
        setup = replace(setup, shape=replace(setup.shape, batch=max(1, setup.shape.batch // 4)))
    model, _ = networks.sd_lora(setup, TASKS)
    images = setup.images().detach()
    model.adapters.freeze()
    plain, filled = setup.network(), setup.network()
    with torch.no_grad():
        adapted = model.features(images)
        with model.merged():
            merged = model.backbone.network
            filled.load_state_dict(merged.state_dict(), strict=True)  # the merged model is a plain timm model's weights
            difference = (filled(images) - adapted).abs().max().item()
            ways = {"plain timm": _inferring(setup, plain, images), "merged": _inferring(setup, merged, images)}
            times = take_turns(ways, device=setup.device, seconds=budget.seconds, least=budget.rounds, most=101)
    rows = [_row(setup, "features of a batch", name, times[name]) for name in ways]
    where = {"shape": setup.shape.name, "precision": setup.precision}
    return rows, [
        figure("merged over plain", ratio(times, "merged", "plain timm"), **where),
        figure("merged outputs' difference", difference, **where),
    ]


def statistics_over_forward(setup: Setup, budget: Budget) -> tuple[list[Json], list[Json]]:
    """Compare a forward pass that gathers the inputs' second moments with one that does not."""
    model, _ = networks.inf_lora(setup, TASKS)
    images = setup.images().detach()
    model.adapters.freeze()
    plain = _inferring(setup, model.backbone, images)

    def gather() -> None:
        with InputMoments(model.adapters):
            plain.work()

    ways = {"forward pass": plain, "with moments": Timed(gather)}
    times = take_turns(ways, device=setup.device, seconds=budget.seconds, least=budget.rounds, most=25)
    rows = [_row(setup, "InfLoRA's statistics", name, times[name]) for name in ways]
    where = {"shape": setup.shape.name, "precision": setup.precision}
    return rows, [figure("statistics over forward", ratio(times, "with moments", "forward pass"), **where)]


def dual_gpm_seconds(device: str, *, width: int = WIDTH) -> tuple[list[Json], list[Json]]:
    """Time the update of InfLoRA's memory for twelve layers, at the first task and at a second one."""
    rows: list[Json] = []
    memories = [Memory.empty(width)] * LAYERS
    for task, threshold in enumerate(THRESHOLDS):
        moments = [_moment(width, 100 * task + layer).to(device) for layer in range(LAYERS)]
        wait(device)
        begun = time.perf_counter()
        memories = _update(memories, moments, threshold)
        wait(device)
        seconds = time.perf_counter() - begun
        protected = statistics.mean(memory.protected for memory in memories)
        rows.append({"what": "DualGPM", "tasks": task + 1, "seconds": seconds, "protected": protected})
    return rows, [figure("DualGPM update", row["seconds"], tasks=row["tasks"]) for row in rows]


def passes_by_tasks(tasks: tuple[int, ...] = (1, 5, 10)) -> tuple[list[Json], list[Json]]:
    """Count the images that go through the backbone when all classes seen are evaluated, for each test image."""
    rows: list[Json] = []
    learner = Learner("glyph_vit", "sd_lora", training={"epochs": 1}, rank=2)
    last = max(tasks)
    stream = learner.stream("synthetic", n_classes=last, images_per_class=2, test_images_per_class=4, tasks=last)
    for number, task in enumerate(stream, 1):
        learner.learn(task)
        if number in tasks:
            with _counted(learner.model) as seen:
                evaluation = learner.evaluate(stream)
            row = {"what": "evaluation", "tasks": number, "test_images": sum(evaluation.n_test)}
            rows.append({**row, "images_through_backbone": seen[0]})
    return rows, [
        figure("passes of the backbone", row["images_through_backbone"] / row["test_images"], tasks=row["tasks"])
        for row in rows
    ]


@contextmanager
def _counted(model: IncrementalClassifier) -> Iterator[list[int]]:
    """Count the images that the backbone sees, as long as the context lasts."""
    seen = [0]

    def count(_module: nn.Module, arguments: tuple[Tensor, ...], _features: Tensor) -> None:
        seen[0] += len(arguments[0])

    handle = model.backbone.register_forward_hook(count)
    try:
        yield seen
    finally:
        handle.remove()


def _inferring(setup: Setup, network: nn.Module, images: Tensor) -> Timed:
    def infer() -> None:
        with torch.inference_mode(), precision_context(setup.device, setup.precision):
            network(images)

    return Timed(infer)


def _moment(width: int, seed: int) -> Tensor:
    """Return a second moment with the falling eigenvalues that the inputs of a network have, λ_i ~ 1/i."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64)).Q
    return (directions / torch.arange(1, width + 1)) @ directions.mT


def _update(memories: list[Memory], moments: list[Tensor], threshold: float) -> list[Memory]:
    energies = [dual_gpm.energy(moment, "squared_eigenvalues") for moment in moments]
    spaces = dual_gpm.free_spaces(energies, memories)
    return [dual_gpm.protect(m, space, threshold) for m, space in zip(memories, spaces, strict=True)]


def _row(setup: Setup, what: str, way: str, times: list[float]) -> Json:
    row = times_row(times)
    return {
        "shape": setup.shape.name,
        "precision": setup.precision,
        "what": what,
        "way": way,
        "batch": setup.shape.batch,
        **row,
        "images_a_second": 1000 * setup.shape.batch / row["milliseconds"],
    }


def show(title: str, rows: list[Json]) -> None:
    """Print the rows of one kind, a column for each of their values."""
    columns = [key for key in rows[0] if key not in {"rounds", "what", "shape", "precision"}]
    cells = [[f"{row[c]:,.2f}" if isinstance(row[c], float) else str(row[c]) for c in columns] for row in rows]
    print_table(title, [column.replace("_", " ") for column in columns], cells)


def main(
    device: OnDevice = "cpu",
    quick: Quick = False,
    batch: Annotated[int | None, typer.Option(help="Images at once; 32 on a processor, 128 on a GPU.")] = None,
    out: Out = None,
) -> None:
    """Measure, print and write."""
    place = Place(name="inference", device=device, quick=quick, out=out, variant=apart(batch=batch))
    kinds, left_out = precisions(device)
    budget = Budget(seconds=1.0, rounds=2) if quick else Budget(seconds=3.0, rounds=5)
    rows: list[Json] = []
    figures: list[Json] = []
    for shape in networks.shapes(device, quick=quick, batch=batch, on_processor=32):
        for precision in kinds:
            setup = Setup(shape=shape, device=device, precision=precision)
            for compare in (merged_over_plain, statistics_over_forward):
                new_rows, new_figures = compare(setup, budget)
                show(f"{new_rows[0]['what']}: {shape.title}, {precision}", new_rows)
                rows += new_rows
                figures += new_figures
    for title, (new_rows, new_figures) in {
        f"Update of InfLoRA's memory, {LAYERS} layers": dual_gpm_seconds(device, width=96 if quick else WIDTH),
        "Evaluation of all classes seen": passes_by_tasks(),
    }.items():
        show(title, new_rows)
        rows += new_rows
        figures += new_figures
    place.write(figures, precisions=kinds, left_out=left_out, rows=rows)


if __name__ == "__main__":
    start(main)
