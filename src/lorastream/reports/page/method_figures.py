"""What the method itself reports after each task: SD-LoRA's magnitudes, InfLoRA's protected directions, the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from lorastream.reports.magnitudes import magnitudes_of
from lorastream.reports.page.drawing import INK, drawing, legend, numbers, over_tasks, thin_line
from lorastream.reports.page.figure import Figure, Section, Table
from lorastream.reports.units import NOTHING
from lorastream.runs import RunRecord

_MOST_COLUMNS = 8
_MOST_TOLD = 10


def method_section(record: RunRecord) -> Section:
    """Return the part of the page about what the method reports; empty where it reports nothing that can be shown."""
    per_task = record.figures_per_task
    figures = [figure for figure in (_magnitudes(per_task), _protected(per_task)) if figure]
    rest = _scalars(per_task)
    tables = (("Reported after each task", rest),) if rest.rows else ()
    return Section(name="method", title=f"Inside {record.method}", figures=tuple(figures), tables=tables)


def _magnitudes(per_task: Sequence[Mapping[str, JsonValue]]) -> Figure | None:
    values = [magnitudes_of(figures) for figures in per_task]
    if not any(values):
        return None
    n_directions = max(map(len, values))
    lines = [[row[i] if i < len(row) else None for row in values] for i in range(n_directions)]
    svg = _lines("magnitudes", lines, "each direction, older ones paler", "magnitude")
    ends = ", ".join(f"{value:.2f}" for value in values[-1][:_MOST_TOLD])
    return Figure(
        name="magnitudes",
        title="Magnitudes over tasks",
        alt=f"Line chart of {n_directions} directions. After the last task their magnitudes are {ends}"
        + (" and so on." if len(values[-1]) > _MOST_TOLD else "."),
        caption="The magnitude of each direction after each task; the mean over projections where each has its own. "
        "The newest one multiplies an update that is not normalised.",
        svg=svg,
        table=_by_task("direction", [str(i + 1) for i in range(n_directions)], lines, "{:.3f}"),
    )


def _protected(per_task: Sequence[Mapping[str, JsonValue]]) -> Figure | None:
    layers = [figures.get("layers") for figures in per_task]
    names = list(dict.fromkeys(name for entry in layers if isinstance(entry, dict) for name in entry))
    lines = [[_protected_in(entry, name) for entry in layers] for name in names]
    if not any(value is not None for line in lines for value in line):
        return None
    last = [line[-1] for line in lines if line[-1] is not None]
    return Figure(
        name="protected",
        title="Growth of the protected bases",
        alt=f"Line chart of {len(names)} layers. After the last task "
        + (f"{min(last):.0f} to {max(last):.0f} directions are protected." if last else "nothing is reported."),
        caption="Input directions of each layer that past tasks use, and that later updates leave alone.",
        svg=_lines("protected", lines, "each layer, deeper ones darker", "protected directions"),
        table=_by_task("layer", names, lines, "{:.0f}"),
    )


def _protected_in(entry: JsonValue, name: str) -> float | None:
    layer = entry.get(name) if isinstance(entry, dict) else None
    value = layer.get("protected") if isinstance(layer, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _lines(name: str, lines: Sequence[Sequence[float | None]], label: str, unit: str) -> str:
    """Draw a line for each entry over tasks, the first the palest, and the mean of those there are."""
    n_tasks = len(lines[0])
    columns = [[value for value in column if value is not None] for column in zip(*lines, strict=True)]
    means = [sum(column) / len(column) if column else None for column in columns]
    tasks = range(1, n_tasks + 1)
    with drawing(name, height=250, top=24) as drawn:
        panel = drawn.panel
        for i, line in enumerate(lines):
            shown = label if i == len(lines) - 1 else None
            thin_line(panel, tasks, numbers(line), place=i / max(len(lines) - 1, 1), label=shown)
        panel.plot(tasks, numbers(means), color=INK, linewidth=2.2, linestyle=(0, (3, 2)), label="mean")
        over_tasks(panel, n_tasks)
        panel.set_ylim(bottom=min(0.0, panel.get_ylim()[0]))
        panel.set_ylabel(unit)
        legend(panel)
    return drawn.svg


def _by_task(what: str, names: Sequence[str], lines: Sequence[Sequence[float | None]], form: str) -> Table:
    rows = [
        [name, *(NOTHING if value is None else form.format(value) for value in line)]
        for name, line in zip(names, lines, strict=True)
    ]
    return Table.of([what, *(f"task {t + 1}" for t in range(len(lines[0])))], rows)


def _scalars(per_task: Sequence[Mapping[str, JsonValue]]) -> Table:
    """Return what is a single number or word, a row for each task; none where there is no such thing."""
    flat = [dict(_flat(figures)) for figures in per_task]
    keys = list(dict.fromkeys(key for figures in flat for key in figures))[:_MOST_COLUMNS]
    rows = [[str(t + 1), *(figures.get(key, NOTHING) for key in keys)] for t, figures in enumerate(flat)]
    return Table.of(["task", *(key.replace("_", " ") for key in keys)], rows if keys else [])


def _flat(figures: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in figures.items():
        if isinstance(value, bool | str):
            found.append((key, str(value)))
        elif isinstance(value, int | float):
            found.append((key, f"{value:,}" if isinstance(value, int) else f"{value:.4g}"))
        elif isinstance(value, dict) and key != "layers":
            found += [(f"{key}: {inner}", text) for inner, text in _flat(value)]
    return found
