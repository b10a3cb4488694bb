"""All benchmarks, one after another, each in a process of its own; then one line for each target.

    python benchmarks/bench.py            # about twelve minutes on two cores; also `make bench`
    python benchmarks/bench.py --quick    # does everything work? The figures mean nothing

The JSON lies under results/performance; `--only-show` holds what is there against the targets.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

import targets
from measuring import Device, Json, OnDevice, Out, Place, Quick, console, start

HERE = Path(__file__).parent
BENCHMARKS = ("startup", "inference", "exported", "memory", "pipeline", "compiled", "step_cost")


def results(device: Device, *, quick: bool, out: Path | None) -> dict[str, Json]:
    """Return what the benchmarks wrote, by name; those that never ran are left out."""
    paths = {name: Place(name=name, device=device, quick=quick, out=out).path for name in BENCHMARKS}
    return {name: json.loads(path.read_text("utf-8")) for name, path in paths.items() if path.is_file()}


def main(
    device: OnDevice = "cpu",
    quick: Quick = False,
    out: Out = None,
    only_show: Annotated[bool, typer.Option("--only-show", help="The targets by the JSON that is there.")] = False,
) -> None:
    """Run them all; end with the targets. Exits with 1 where a benchmark failed, whatever was measured."""
    begun, failed = time.perf_counter(), []
    options = ["--device", device, *(["--quick"] if quick else []), *(["--out", str(out)] if out else [])]
    for name in () if only_show else BENCHMARKS:
        console.rule(name)
        part = time.perf_counter()
        if subprocess.run([sys.executable, str(HERE / f"{name}.py"), *options], check=False).returncode:
            failed.append(name)
        console.print(f"[dim]{name}: {(time.perf_counter() - part) / 60:.1f} minutes[/dim]")
    if not (quick or only_show or failed) and device == "cpu" and out is None:
        import plot_step_cost

        plot_step_cost.main()
    console.rule("targets")
    targets.show(results(device, quick=quick, out=out))
    if quick:
        console.print("Quick: tiny shapes. These figures mean nothing.")
    if not only_show:
        console.print(f"{(time.perf_counter() - begun) / 60:.1f} minutes")
    if failed:
        console.print(f"Failed: {', '.join(failed)}; what is shown of them is older.")
        raise typer.Exit(1)


if __name__ == "__main__":
    start(main)
