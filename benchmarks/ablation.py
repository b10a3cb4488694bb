"""Which switch between `sd_lora` and `sd_lora_plus` gains what, one at a time; on CIFAR-100, reduced.

    python benchmarks/ablation.py data.root=FOLDER backbone.weights=FILE

The classes are dealt into two halves by `class_order(7, 100)`. Choices are made on the first, in five tasks of ten over
three orders of its classes; the choice is reported on the second (`--half reported`), over three orders too, beside
`sd_lora` and `joint`, with the recipe's epochs and with more: is `sd_lora` at its plateau, and what is left of the
difference there? Each run is `lorastream run` on one thread; the figures go into results/ablation.json, and from there
into docs/methods/sd_lora_plus.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lorastream.data.sources import load
from lorastream.randomness import class_order
from lorastream.recipes import build

RECIPE = "cifar100_deit_tiny"
RESULTS = Path(__file__).parent / "results" / "ablation.json"
ALIGNED = 'training.alignment={covariance="shared"}'
FOLLOWED = 'training.alignment={covariance="shared", drift="shift"}'
COSINE = 'training.head={kind="cosine"}'
VARIANTS: dict[str, tuple[str, ...]] = {
    "sd_lora": (),
    "sd_lora, 6 epochs": ("training.epochs=6",),
    "sd_lora, 12 epochs": ("training.epochs=12",),
    "sd_lora, 24 epochs": ("training.epochs=24",),
    "+ alignment": (ALIGNED,),
    "+ alignment, drift": (FOLLOWED,),
    "+ cosine": (COSINE,),
    "+ cosine, alignment, drift": (COSINE, FOLLOWED),
    "+ discriminant": ('training.head={kind="discriminant"}', ALIGNED),
    "+ discriminant, drift": ('training.head={kind="discriminant"}', FOLLOWED),
    "sd_lora_plus": (),
    "sd_lora_plus, slow backbone": ("training.backbone_rate=0.3",),
    "sd_lora_plus, 12 epochs": ("training.epochs=12",),
    "joint": (),
    "joint, 12 epochs": ("training.epochs=12",),
}
PLATEAU = (
    "sd_lora, 6 epochs",
    "sd_lora, 12 epochs",
    "sd_lora, 24 epochs",
    "sd_lora_plus, 12 epochs",
    "joint, 12 epochs",
)
HALVES = {
    "tuning": [name for name in VARIANTS if name not in ("joint", *PLATEAU[2:])],
    "reported": ["sd_lora_plus", "sd_lora", *PLATEAU[:-1], "joint", PLATEAU[-1]],
}
KEPT = (
    "average_accuracy",
    "average_incremental_accuracy",
    "forgetting",
    "task_restricted_average_accuracy",
    "stored_bytes",
)
SEEDS = {"tuning": (7, 8, 9), "reported": (1993, 1994, 1995)}


def main() -> None:
    """Run what is not there yet, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--half", choices=HALVES, default="tuning")
    given = parser.parse_args()
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    for seed in SEEDS[given.half]:
        for name in HALVES[given.half]:
            key = f"{given.half}, {name}, {seed}"
            if key not in found:
                found[key] = run(name, given.half, seed, given.overrides)
                in_order = {known: found[known] for known in sorted(found, key=_place)}
                RESULTS.write_text(json.dumps(in_order, indent=1) + "\n", "utf-8")
            print(f"{key}: {100 * found[key]['average_accuracy']:.1f}", flush=True)


def run(name: str, half: str, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Run one variant on one half of the classes, and return its figures."""
    method = name.partition(",")[0] if not name.startswith("+") else "sd_lora"
    tasks = json.dumps(dealt(half, seed, overrides))
    words = [RECIPE, *overrides, f"seed={seed}", f"stream={{classes={tasks}}}", *VARIANTS[name], "--methods", method]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lorastream", "run", *words, "--out", folder + "/run", "--quiet"]
        subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
        record: dict[str, Any] = json.loads(Path(folder, "run", "record.json").read_text("utf-8"))
    kept = {key: record[key] for key in KEPT}
    return {**kept, "seconds": sum(record["seconds_per_task"]), "method": method, "overrides": VARIANTS[name]}


def dealt(half: str, seed: int, overrides: list[str]) -> list[list[str]]:
    """Return the class names of five tasks of ten of a half, in an order drawn from the seed.

    The tuning half under seed 7 is as it was dealt.
    """
    recipe = build.load(RECIPE, overrides)
    names = load(recipe.data.source, **recipe.data.source_options()).class_names
    order = list(class_order(7, len(names)))
    own = order[:50] if half == "tuning" else order[50:]
    chosen = own if (half, seed) == ("tuning", 7) else [own[i] for i in class_order(seed, 50)]
    return [[names[label] for label in chosen[start : start + 10]] for start in range(0, 50, 10)]


def _place(key: str) -> tuple[int, int, str]:
    half, rest = key.split(", ", 1)
    name, _, seed = rest.rpartition(", ")
    return list(HALVES).index(half), list(VARIANTS).index(name), seed


if __name__ == "__main__":
    main()
