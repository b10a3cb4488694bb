"""What an exported model costs where it is used, over the plain backbone exported the same way (target 5).

    python benchmarks/exported.py

A model that learnt ten tasks and one that learnt none, with a head for the same classes, are exported to every target
and run by the library that the target is for, taking turns on the same batch. Whatever the ten tasks left behind shows
in the ratio. PEFT is the one that keeps the update apart, as its own adapters are; `merge_and_unload` ends that.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import timm
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor

from lorastream import Learner
from lorastream.export import TARGETS, export_model
from lorastream.export.host import host_of
from lorastream.export.merged import merge
from lorastream.export.write import exporter_of
from measuring import Json, OnAnyDevice, Out, Place, Timed, figure, print_table, ratio, start, take_turns

TASKS, CLASSES, RANK = 10, 10, 10
BACKBONE = "vit_tiny_patch16_224.augreg_in21k"
Logits = Callable[[Tensor], Tensor]


def learner(weights: Path, *, tasks: int, image_size: int) -> Learner:
    """Return a learner of `TASKS x CLASSES` classes whose weights hold the random updates of so many tasks."""
    made = Learner(BACKBONE, "sd_lora", weights=weights, image_size=image_size)
    generator = torch.Generator().manual_seed(0)
    for task in range(TASKS):
        made.model.grow([f"class {task * CLASSES + k}" for k in range(CLASSES)])
        if task < tasks:
            adapters = made.model.adapt(("query", "value"))
            adapters.grow(RANK, generator=generator, up_std=0.02)
            adapters.freeze()
    return made


def in_turns(target: str, taught: Learner, plain: Learner, images: Tensor, *, seconds: float) -> dict[str, list[float]]:
    """Export both, load them in the target's library, and time a batch of each."""
    with tempfile.TemporaryDirectory() as folder:
        ways = {f"{target}, plain": exported(target if target != "peft" else "timm", plain, Path(folder, "plain"))}
        ways[target] = exported(target, taught, Path(folder, "taught"))
        if target == "peft":
            ways["peft, merged"] = merged_by_peft(taught, Path(folder, "taught"))
        timed = {name: Timed(_inferring(logits, images)) for name, logits in ways.items()}
        return take_turns(timed, device="cpu", seconds=seconds, least=3, most=40)


def exported(target: str, model: Learner, folder: Path) -> Logits:
    """Export a learner and return what the target's library answers."""
    export_model(model, target, folder)
    return exporter_of(target).load(merge(model), folder)


def merged_by_peft(taught: Learner, folder: Path) -> Logits:
    """Return what PEFT answers once it has merged its adapter into the backbone."""
    from peft import PeftModel

    merged = merge(taught)
    base: Any = host_of(merged, "peft").plain(len(merged.class_names))
    return PeftModel.from_pretrained(base, folder).merge_and_unload().eval()


def _inferring(logits: Logits, images: Tensor) -> Callable[[], object]:
    def infer() -> None:
        with torch.inference_mode():
            logits(images)

    return infer


def main(
    device: OnAnyDevice = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Tiny images: to see that it works.")] = False,
    out: Out = None,
) -> None:
    """Measure, print and write."""
    place = Place(name="exported", device=device, quick=quick, out=out)
    side, batch = (32, 2) if quick else (224, 4)
    os.environ["HF_HUB_OFFLINE"] = "1"
    rows: list[Json] = []
    figures: list[Json] = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights.safetensors")
        save_file(timm.create_model(BACKBONE, num_classes=0, img_size=side).state_dict(), weights)
        taught = learner(weights, tasks=TASKS, image_size=side)
        plain = learner(weights, tasks=0, image_size=side)
        images = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))
        for target in TARGETS:
            times = in_turns(target, taught, plain, images, seconds=0.5 if quick else 8.0)
            for way in times:
                over = ratio(times, way, f"{target}, plain")
                rows.append({"way": way, "milliseconds": statistics.median(times[way]), "over plain": over})
                if not way.endswith("plain"):
                    figures.append(figure("exported over plain", over, method=way))
    cells = [(row["way"], f"{row['milliseconds']:.1f}", f"{row['over plain']:.3f}") for row in rows]
    print_table(f"{BACKBONE}, {side} px, batch {batch}, {TASKS} tasks", ("way", "milliseconds", "over plain"), cells)
    place.write(figures, rows=rows)


if __name__ == "__main__":
    start(main)
