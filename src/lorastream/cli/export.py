"""`lorastream export`: a taught model in another library's form, compared with the original before it is left there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorastream.cli import screen
from lorastream.cli.arguments import AsJson, ModelFolder, Weights

if TYPE_CHECKING:
    from lorastream.export import Exported

Pictures = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Compare on these pictures.", show_default="seeded images"),
]
Tolerance = Annotated[
    float | None,
    typer.Option(min=0.0, metavar="NUMBER", help="Largest difference of any logit that passes.", show_default="1e-4"),
]


def export(
    model: ModelFolder,
    *,
    to: Annotated[str, typer.Option(metavar="TARGET", help="timm, hf, peft, onnx or torch; see docs/export.md.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write.", show_default="MODEL-TARGET")
    ] = None,
    pictures: Pictures = None,
    tolerance: Tolerance = None,
    weights: Weights = None,
    json: AsJson = False,
) -> None:
    """Write a model for timm, transformers, peft, ONNX or torch, and see there that it gives the same logits."""
    with screen.waiting("exporting", silent=json):
        from lorastream.export.write import TOLERANCE, export_model, exporter_of
        from lorastream.learner import Learner

        exporter_of(to)
        learner = Learner.load(model, weights=weights)
        accepted = TOLERANCE if tolerance is None else tolerance
        made = export_model(learner, to, out or beside(model, to), pictures=pictures, tolerance=accepted)
    if json:
        screen.print_json(_document(made))
        return
    show(made)


def beside(model: Path, target: str) -> Path:
    """Return the place of an export that was given none: beside the model, named after both."""
    folder = model if model.name not in {"", ".."} else model.resolve()
    return folder.parent / f"{folder.name}-{target}"


def show(made: Exported) -> None:
    """Print the files, the largest difference, and the lines that load it, unbroken so that they can be copied."""
    from rich.text import Text

    from lorastream.reports.units import size

    screen.show(
        f"Written for {made.target} to {made.folder}, {size(made.n_bytes)}:",
        *screen.entries([(name, size(n_bytes)) for name, n_bytes in made.files], width=screen.console().width),
        f"Largest difference of any logit: {made.largest_difference:.1e} on {made.compared} (passes up to "
        f"{made.tolerance:.0e}).",
        *(f"Note: {note}." for note in made.notes),
        Text(),
        "Load it:",
        *(Text(f"  {line}") for line in made.lines),
    )


def _document(made: Exported) -> dict[str, object]:
    return {
        "target": made.target,
        "folder": str(made.folder),
        "files": dict(made.files),
        "largest_difference": made.largest_difference,
        "tolerance": made.tolerance,
        "compared_on": made.compared,
        "notes": list(made.notes),
        "lines": list(made.lines),
    }
