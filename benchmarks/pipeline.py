"""Whether the training step has to wait for its images (target 10).

    python benchmarks/pipeline.py                                # JPEG files made by this script, random textures
    python benchmarks/pipeline.py --root my_photos               # train/<class>/* and test/<class>/*
    python benchmarks/pipeline.py --root ../shared/data/cifar100 # a folder of Parquet tables

ViT-Ti/16 at 224 px learns with SD-LoRA from files, whose pixels the first epoch left in the cache: the time of a step
that takes its batch from the pipeline over that of a step on the same batch in memory already, the two taking turns.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import PIL.Image
import torch
import typer

import networks
from lorastream.data import sources
from lorastream.data.stream import Stream, StreamConfig
from lorastream.data.task import Batch, Task
from lorastream.data.transforms import InputSpec, TransformConfig, build_transforms
from lorastream.training.device import preparing_threads
from measuring import (
    Json,
    OnDevice,
    Out,
    Place,
    Quick,
    apart,
    figure,
    precision_context,
    precisions,
    print_table,
    start,
    wait,
)
from networks import Setup, Shape

AUGMENTATIONS = ("gentle", "paper")
CLASSES = 4
IMAGES_PER_CLASS = 64
"""At most so many are decoded: the first epoch is not what is measured."""


def textures(root: Path, images_per_class: int) -> Path:
    """Write JPEG files of random textures, 500 x 375 pixels as photographs on the web are: `train` and `test`."""
    for role in ("train", "test"):
        for number in range(CLASSES):
            folder = root / role / f"texture_{number}"
            folder.mkdir(parents=True)
            for image in range(images_per_class if role == "train" else 1):
                coarse = np.random.default_rng([number, image]).integers(0, 256, (24, 32, 3), dtype=np.uint8)
                picture = PIL.Image.fromarray(coarse).resize((500, 375), PIL.Image.Resampling.BICUBIC)
                picture.save(folder / f"{image}.jpg", quality=90)
    return root


def first_task(root: Path, augmentation: str, spec: InputSpec, cache: Path) -> Task:
    """Return the first task of a folder of pictures, or of Parquet tables, its pixels cached."""
    tables = any(root.glob("*.parquet"))
    options = {} if tables or (root / "train").is_dir() else {"test_fraction": 0.2}
    stream = Stream.of(
        sources.load("parquet" if tables else "folder", root=root, **options),
        config=StreamConfig(tasks=1),
        seed=0,
        transforms=build_transforms(spec, TransformConfig(train=augmentation)),
        cache=cache,
        images_per_class=IMAGES_PER_CLASS,
        test_images_per_class=1,
    )
    return stream[0]


def compare(setup: Setup, root: Path, cache: Path, augmentation: str, steps: int) -> Json:
    """Take steps from the pipeline and from memory in turn; return the times of both, in milliseconds."""
    model, step = networks.sd_lora(setup, 1)
    task = first_task(root, augmentation, model.backbone.spec, cache)
    optimiser = torch.optim.SGD(step.learning, lr=1e-6)

    def take(images: torch.Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        with precision_context(setup.device, setup.precision):
            loss = model(images).float().logsumexp(dim=1).mean()
        loss.backward()
        optimiser.step()
        wait(setup.device)

    piped, ready, alone = [], [], []
    batches = _batches(task, setup)
    # Several, so that neither way finds its images in the processor's cache.
    in_memory = [next(batches).images for _ in range(3)]
    take(in_memory[0])
    for number in range(steps):
        begun = time.perf_counter()
        images = next(batches).images
        got = time.perf_counter()
        take(images)
        done = time.perf_counter()
        take(in_memory[number % len(in_memory)])
        ready.append(1000 * (time.perf_counter() - done))
        piped.append(1000 * (done - begun))
        alone.append(1000 * (got - begun))
    return {
        "augmentation": augmentation,
        "waited": statistics.median(alone),
        "step_from_files": statistics.median(piped),
        "step_from_memory": statistics.median(ready),
        "ratio": statistics.median(a / b for a, b in zip(piped, ready, strict=True)),
    }


def _batches(task: Task, setup: Setup) -> Iterator[Batch]:
    """Yield whole batches for ever, epoch after epoch, prepared as the training loop has them prepared."""
    size, threads = setup.shape.batch, preparing_threads(torch.device(setup.device))
    if len(task.train) < size:
        raise typer.BadParameter(f"{len(task.train)} images make no batch of {size}", param_hint="--root")
    epoch = 0
    while True:
        for batch in task.train.batches(size, epoch=epoch, device=setup.device, workers=threads):
            if len(batch) == size:
                yield batch
        epoch += 1


def main(
    device: OnDevice = "cpu",
    quick: Quick = False,
    root: Annotated[Path | None, typer.Option(help="Pictures of your own; textures are made otherwise.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step; 32 on a processor, 128 on a GPU.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps that are timed.")] = None,
    out: Out = None,
) -> None:
    """Measure, print and write."""
    place = Place(name="pipeline", device=device, quick=quick, out=out, variant=apart(batch=batch))
    kinds, left_out = precisions(device)
    shape: Shape = networks.shapes(device, quick=quick, batch=batch, on_processor=32)[0]
    steps = steps or {"cpu": 9, "cuda": 40}[device]
    steps = 2 if quick else steps
    rows: list[Json] = []
    with tempfile.TemporaryDirectory() as folder:
        made = root or textures(Path(folder) / "textures", -(-2 * shape.batch // CLASSES))
        for precision in kinds:
            setup = Setup(shape=shape, device=device, precision=precision)
            for augmentation in AUGMENTATIONS:
                row = compare(setup, made, Path(folder) / "cache", augmentation, steps)
                rows.append({"precision": precision, **row})
    show(shape, rows)
    figures = [
        figure("step from files over from memory", row["ratio"], precision=row["precision"], method=row["augmentation"])
        for row in rows
    ]
    source = "random textures, JPEG, 500 x 375" if root is None else str(root)
    place.write(figures, shape=shape.described, source=source, precisions=kinds, left_out=left_out, rows=rows)


def show(shape: Shape, rows: list[Json]) -> None:
    """Print the table."""
    cells = [
        (
            f"{row['augmentation']}, {row['precision']}",
            f"{row['waited']:,.1f}",
            f"{row['step_from_files']:,.1f}",
            f"{row['step_from_memory']:,.1f}",
            f"{row['ratio']:.3f}",
        )
        for row in rows
    ]
    headings = ("augmentation", "waited for\nimages, ms", "step from\nfiles, ms", "step from\nmemory, ms", "ratio")
    print_table(f"Images from files, cached: {shape.described}", headings, cells)


if __name__ == "__main__":
    start(main)
