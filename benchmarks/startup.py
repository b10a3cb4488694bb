"""How soon the command line answers, and that a report needs no torch (target 9).

    python benchmarks/startup.py

The median over five processes, from start to end.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Annotated

import typer

from measuring import ROOT, Json, OnAnyDevice, Out, Place, figure, print_table, start

RECORDS = ROOT / "benchmarks" / "results" / "digits"
COMMANDS = {"--help": ["--help"], "list": ["list"], "report": ["report", str(RECORDS)]}
NAMED_MODULES = """
import sys
from lorastream.cli.main import main
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


def seconds(words: list[str]) -> float:
    """Return how long one process takes from its start to its end."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "lorastream", *words], capture_output=True, check=True, env=_plain())
    return time.perf_counter() - begun


def imports_torch(words: list[str]) -> bool:
    """Return whether the command loads torch."""
    command = [sys.executable, "-c", NAMED_MODULES, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_plain())
    return done.stderr.splitlines()[-1] == "True"


def _plain() -> dict[str, str]:
    """Return the environment of a user, with this checkout's package."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def main(
    device: OnAnyDevice = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Two processes in place of five.")] = False,
    out: Out = None,
) -> None:
    """Measure, print and write."""
    place = Place(name="startup", device=device, quick=quick, out=out)
    rows: list[Json] = []
    for name, words in COMMANDS.items():
        times = [seconds(words) for _ in range(2 if quick else 5)]
        row = {"command": f"lorastream {name}", "seconds": statistics.median(times), "torch": imports_torch(words)}
        rows.append({**row, "processes": [round(one, 3) for one in times]})
    cells = [(row["command"], f"{row['seconds']:.3f}", "yes" if row["torch"] else "no") for row in rows]
    print_table("From the start of the process to its end", ("command", "seconds", "loads torch"), cells)
    figures = [figure("start-up seconds", row["seconds"], method=row["command"].split()[-1]) for row in rows]
    figures += [figure("loads torch", int(row["torch"]), method=row["command"].split()[-1]) for row in rows]
    place.write(figures, rows=rows)


if __name__ == "__main__":
    start(main)
