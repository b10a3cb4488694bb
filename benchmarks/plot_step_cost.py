"""Draw docs/step_cost.svg from the JSON of step_cost.py and memory.py: nothing is measured here.

    python benchmarks/plot_step_cost.py

The released way is measured up to T = 50; beyond, its straight line is drawn dashed and named so.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lorastream.files import write_atomically
from lorastream.reports.plots import STYLE
from measuring import RESULTS, ROOT, Json

PICTURE = ROOT / "docs" / "step_cost.svg"
FURTHEST = 1000
OURS, LOOP, FLOOR = "#1f77b4", "#d62728", "#888888"


def picture(step_cost: Json, memory: Json, shape: str, precision: str) -> str:
    """Return the SVG: time and saved memory of a step against the number of tasks, of ours and the released way.

    Args:
        step_cost: what step_cost.py wrote.
        memory: what memory.py wrote.
        shape: `vit_ti_16` or `vit_b_16`.
        precision: `fp32` or `bf16`.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw(
            left, _of(step_cost, shape, precision), lambda row: 1000 / row["images_a_second"], "milliseconds an image"
        )
        saved = _of(memory, shape, precision)
        _draw(right, saved, lambda row: 1e-6 * row["saved_bytes"] / row["batch"], "saved for backward, MB an image")
        figure.suptitle(f"A training step of SD-LoRA as tasks add up: {step_cost['shapes'][shape]}, {precision}")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, facecolor="white")
    return text.getvalue()


def straight_line(points: Sequence[tuple[float, float]], to: float) -> list[tuple[float, float]]:
    """Return the last point and where the line through it and the one before arrives at `to`."""
    (x0, y0), (x1, y1) = points[-2:]
    return [(x1, y1), (to, y1 + (y1 - y0) / (x1 - x0) * (to - x1))]


def _of(results: Json, shape: str, precision: str) -> list[Json]:
    return [row for row in results["rows"] if (row["shape"], row["precision"]) == (shape, precision)]


def _draw(panel: Axes, rows: Sequence[Json], value: Callable[[Json], float], label: str) -> None:
    of_method = [row for row in rows if row["method"] == "sd_lora"]
    ours, loop = (
        [(row["tasks"], value(row)) for row in of_method if row["looped"] is looped] for looped in (False, True)
    )
    floor = next(value(row) for row in rows if row["method"] == "floor")
    beyond = straight_line(loop, FURTHEST)
    batch = next(row["batch"] for row in of_method if row["looped"])
    released = f"the released forward pass, written anew, batch {batch}"
    panel.plot(*zip(*loop, strict=True), color=LOOP, marker="o", label=released)
    panel.plot(
        *_curve(beyond), color=LOOP, linestyle="--", label=f"its straight line beyond T = {loop[-1][0]}, not measured"
    )
    panel.plot(*zip(*ours, strict=True), color=OURS, marker="o", label="lorastream")
    panel.axhline(floor, color=FLOOR, linewidth=1, label="floor: frozen backbone and a new head")
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("tasks T")
    panel.set_ylabel(label)


def _curve(ends: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return points on a straight line, close enough that it looks right between logarithmic axes."""
    (x0, y0), (x1, y1) = ends
    xs = [x0 * (x1 / x0) ** (step / 40) for step in range(41)]
    return xs, [y0 + (y1 - y0) * (x - x0) / (x1 - x0) for x in xs]


def main(
    folder: Annotated[Path, typer.Option(help="Where the JSON is.")] = RESULTS,
    shape: str = "vit_ti_16",
    precision: str = "fp32",
    out: Annotated[Path, typer.Option(help="The SVG to write.")] = PICTURE,
) -> None:
    """Draw."""
    step_cost, memory = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("step_cost", "memory"))
    write_atomically(out, picture(step_cost, memory, shape, precision))


if __name__ == "__main__":
    typer.run(main)
