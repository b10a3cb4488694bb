"""Run every method of a recipe over several class-order seeds, some at a time; what is finished is not run again.

    python benchmarks/compare_methods.py cifar100_deit_tiny data.root=FOLDER backbone.weights=FILE

The first seed of every method comes first, so a table is there early. Each run is `lorastream run` on one thread in a
process of its own and leaves its record in RESULTS/<recipe>/<method>/<seed>.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lorastream.recipes import load as recipes

RESULTS = Path(__file__).parent / "results"
RECORD, MODEL = "record.json", "model"


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--methods", help="names separated by commas; all of the recipe by default")
    parser.add_argument("--seeds", type=int, default=3, help="counting up from the recipe's (default 3)")
    parser.add_argument("--once", default="joint", help="methods with the first seed only (default joint: it is long)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (default 2)")
    given = parser.parse_args()
    first = recipes.read(given.recipe).seed
    methods = given.methods.split(",") if given.methods else recipes.read(given.recipe).method_names()
    once = given.once.split(",")
    pairs = [(m, first + i) for i in range(given.seeds) for m in methods if not (i and m in once)]
    pairs.sort(key=lambda pair: pair[0] in once)  # the long ones last
    waiting = [pair for pair in pairs if not _finished(_folder(given.recipe, *pair))]
    print(f"{len(waiting)} runs to do, {len(pairs) - len(waiting)} there already", flush=True)
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(lambda pair: _run(given.recipe, given.overrides, *pair), waiting))


def _folder(recipe: str, method: str, seed: int) -> Path:
    return RESULTS / Path(recipe).stem / method / str(seed)


def _finished(folder: Path) -> bool:
    record = folder / RECORD
    return record.is_file() and json.loads(record.read_text("utf-8"))["status"] == "finished"


def _run(recipe: str, overrides: list[str], method: str, seed: int) -> None:
    folder = _folder(recipe, method, seed)
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "lorastream", "run", recipe, *overrides, f"seed={seed}", "--methods", method]
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, "--out", os.path.relpath(folder), "--quiet"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(folder / MODEL, ignore_errors=True)
    said = (done.stdout or done.stderr).strip().splitlines() or [""]
    print(f"{method} {seed}: {said[0]} ({time.perf_counter() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
