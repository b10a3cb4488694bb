"""Teach real photographs in five uneven visits, as a user would: folders, the command line, the default settings.

    python benchmarks/visits.py --root FOLDER --weights FILE

CIFAR-100 (parquet, Hugging Face layout), DeiT-Tiny at 112 px, visits of 3, 8, 1, 5 and 3 classes in seed 1993's order,
24 images a class to learn from (a fifth of them held out by `learn`), 50 others for `evaluate`. The frozen backbone's
prototypes go the same way, for comparison.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lorastream.data.images import Images
from lorastream.data.sources import load
from lorastream.files import write_atomically
from lorastream.randomness import class_order
from lorastream.runs.environment import processor, versions

OUT = Path(__file__).parent / "results" / "visits.json"
SIZES = (3, 8, 1, 5, 3)
SEED, IMAGES, TEST_IMAGES, IMAGE_SIZE = 1993, 24, 50, 112
BACKBONE = "deit_tiny_patch16_224.fb_in1k"
METHODS = {"sd_lora_plus": [], "prototypes": ["--method", "prototypes"]}
LONG = ("confusion", "reliability")


def write_folders(images: Images, classes: Mapping[str, int], n: int, folder: Path) -> None:
    """Write the first `n` images of each class, given by name and label, as PNG files into a folder of its own."""
    for name, label in classes.items():
        (folder / name).mkdir(parents=True)
        for row in np.flatnonzero(images.labels == label)[:n].tolist():
            images.read(row).save(folder / name / f"{row:05}.png")


def told(*arguments: str) -> dict[str, Any]:
    """Run the command line in a process of its own; return the JSON that it prints."""
    command = [sys.executable, "-m", "lorastream", *arguments, "--json", "--quiet"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def taught(
    method: str, visits: Sequence[Path], tests: Sequence[Path], place: Path, weights: Path
) -> list[dict[str, Any]]:
    """Teach the visits one after another; return what `learn` and `evaluate` said after each."""
    model, rows = place / "model", []
    new = ["--backbone", BACKBONE, "--image-size", str(IMAGE_SIZE), "--weights", str(weights), *METHODS[method]]
    for number, (visit, test) in enumerate(zip(visits, tests, strict=True)):
        begun = time.perf_counter()
        learnt = told("learn", str(visit), "--into", str(model), *(new if number == 0 else []))
        seconds = time.perf_counter() - begun
        learnt = {key: value for key, value in learnt.items() if key != "model"} | {"source": visit.name}
        evaluated = told("evaluate", str(model), str(test))
        evaluated = {key: value for key, value in evaluated.items() if key not in LONG}
        rows.append({"method": method, "visit": number + 1, "seconds": seconds, "learn": learnt, "evaluate": evaluated})
        print(f"{method}, visit {number + 1}: {seconds:.0f} s", flush=True)
    return rows


def main(
    root: Annotated[Path, typer.Option(help="Folder of CIFAR-100 as parquet.")],
    weights: Annotated[Path, typer.Option(help="DeiT-Tiny's weights.")],
) -> None:
    """Write the folders, teach, and write what was said."""
    dataset = load("parquet", root=root)
    order = [(dataset.class_names[label], label) for label in class_order(SEED, len(dataset.class_names))]
    ends = [sum(SIZES[: i + 1]) for i in range(len(SIZES))]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        visits = [Path(folder) / f"visit {i + 1}" for i in range(len(SIZES))]
        tests = [Path(folder) / f"test {i + 1}" for i in range(len(SIZES))]
        for visit, test, size, end in zip(visits, tests, SIZES, ends, strict=True):
            write_folders(dataset.train, dict(order[end - size : end]), IMAGES, visit)
            write_folders(dataset.test, dict(order[:end]), TEST_IMAGES, test)
        for method in METHODS:
            rows += taught(method, visits, tests, Path(folder) / method, weights)
    facts = {"command": "python benchmarks/visits.py --root FOLDER --weights FILE", "processor": processor()}
    write_atomically(OUT, json.dumps({**facts, "versions": versions(), "sizes": SIZES, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
