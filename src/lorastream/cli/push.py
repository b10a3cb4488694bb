"""`lorastream push`: an exported model onto the Hugging Face hub, with a card that says what it knows."""

from __future__ import annotations

from typing import Annotated

import typer

from lorastream.cli import screen
from lorastream.cli.arguments import AsJson, ModelFolder, Weights
from lorastream.cli.export import Pictures, Tolerance

Repository = Annotated[
    str, typer.Argument(metavar="REPOSITORY", help="owner/name on the hub; made if it is not there.")
]


def push(
    model: ModelFolder,
    repository: Repository,
    *,
    to: Annotated[str, typer.Option(metavar="TARGET", help="timm, hf, peft, onnx or torch.")] = "hf",
    private: Annotated[bool, typer.Option("--private", help="Only its owner may see it.")] = False,
    pictures: Pictures = None,
    tolerance: Tolerance = None,
    weights: Weights = None,
    json: AsJson = False,
) -> None:
    """Export a model, check it, and upload it with a model card: classes, tasks, accuracy, licence, how to load it."""
    import tempfile
    from pathlib import Path

    with screen.waiting("exporting and uploading", silent=json), tempfile.TemporaryDirectory() as scratch:
        from lorastream.export.card import hub_lines
        from lorastream.export.publish import check_repository, publish
        from lorastream.export.write import TOLERANCE, export_model, exporter_of
        from lorastream.learner import Learner
        from lorastream.training.manifest import history

        check_repository(repository)
        exporter_of(to)
        learner = Learner.load(model, weights=weights)
        accepted = TOLERANCE if tolerance is None else tolerance
        made = export_model(learner, to, Path(scratch, "export"), pictures=pictures, tolerance=accepted)
        address = publish(made, learner, repository, private=private, steps=history(model))
    lines = hub_lines(made, repository)
    if json:
        document = {"address": address, "target": to, "private": private, "files": dict(made.files), "lines": lines}
        document |= {"largest_difference": made.largest_difference, "compared_on": made.compared}
        screen.print_json(document)
        return
    from rich.text import Text

    from lorastream.reports.units import size

    screen.show(
        f"Uploaded for {to}, {size(made.n_bytes)} and a card, to:",
        Text(f"  {address}"),
        f"Largest difference of any logit: {made.largest_difference:.1e} on {made.compared}.",
        Text(),
        "Load it:",
        *(Text(f"  {line}") for line in lines),
    )
