"""`lorastream evaluate`: how often a model is right on a folder of classes, where not, and since when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorastream.cli import screen
from lorastream.cli.arguments import AsJson, ModelFolder, Weights
from lorastream.cli.predict import Quiet

if TYPE_CHECKING:
    from lorastream.cli.stages import Told
    from lorastream.data.pictures import Named
    from lorastream.training.folder_evaluation import FolderEvaluation
    from lorastream.training.manifest import Step


def evaluate(
    model: ModelFolder,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="One folder of pictures for each class.")],
    *,
    history: Annotated[
        bool, typer.Option("--history", help="Evaluate the model's earlier steps too, to see which hurt what.")
    ] = False,
    json: AsJson = False,
    weights: Weights = None,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy by task and class, what is taken for what, and how far probabilities can be believed."""
    from lorastream.cli.stages import stages
    from lorastream.data.pictures import of_classes
    from lorastream.training.lineage import lineage

    steps, pictures = lineage(model.expanduser()), of_classes(folder)
    with stages(silent=quiet, rate=True) as told:
        found = _evaluation(model, folder, weights, told)
        series = _measured(model, steps, pictures, weights, told, found) if history else _stored(steps, found)
    document = _document(found, series, blame=history)
    if json:
        screen.print_json(document)
        return
    from lorastream.reports.evaluation import shown

    screen.show(*shown(document, quiet=quiet))


def _evaluation(model: Path, folder: str, weights: Path | None, told: Told) -> FolderEvaluation:
    from lorastream.learner import Learner
    from lorastream.training.folder_evaluation import evaluate_folder

    asked = Learner.load(model.expanduser(), weights=weights).asked()
    return evaluate_folder(asked, folder, listen=lambda event: told("evaluating", event.done, event.total))


def _stored(steps: Sequence[Step], found: FolderEvaluation) -> dict[str, list[tuple[int, float]]]:
    """Return of each class its held-out accuracy when it was learnt, as the model's history has it, and that of now."""
    from lorastream.training.lineage import accuracy_when_learnt

    then = accuracy_when_learnt(steps)
    now = found.accuracy_of_class
    return {name: [then[name], (steps[-1].number, now[name])] for name in now if name in then}


def _measured(
    model: Path,
    steps: Sequence[Step],
    pictures: Mapping[str, Sequence[Named]],
    weights: Path | None,
    told: Told,
    found: FolderEvaluation,
) -> dict[str, list[tuple[int, float]]]:
    """Return of each class its accuracy on the same pictures after every step that taught something."""
    from lorastream.learner import Learner
    from lorastream.training.folder_evaluation import evaluate_pictures
    from lorastream.training.lineage import names_now

    series: dict[str, list[tuple[int, float]]] = {name: [] for name in pictures}
    for step, names in zip(steps[:-1], names_now(steps)[:-1], strict=True):
        own = {then: pictures[now] for then, now in names.items() if now in pictures}
        if own:
            asked = Learner.load(model.expanduser(), weights=weights, step=step.number).asked()
            what = f"step {step.number}"
            past = evaluate_pictures(asked, own, listen=lambda event, what=what: told(what, event.done, event.total))
            for then, accuracy in past.accuracy_of_class.items():
                series[names[then]].append((step.number, accuracy))
    for name, accuracy in found.accuracy_of_class.items():
        series[name].append((steps[-1].number, accuracy))
    return {name: own for name, own in series.items() if own}


def _document(found: FolderEvaluation, series: dict[str, list[tuple[int, float]]], *, blame: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from lorastream.metrics.counts import most_confused
    from lorastream.metrics.hurt import losses

    names = found.class_names
    return {
        "images": int(found.confusion.sum()),
        "accuracy": found.overall_accuracy,
        "expected_calibration_error": found.reliability.error,
        "is_calibrated": found.is_calibrated,
        "reliability": asdict(found.reliability),
        "tasks": _tasks(found),
        "classes": _classes(found),
        "confused": [
            {"class": names[true], "taken_for": names[taken], "images": images}
            for true, taken, images in most_confused(found.confusion, limit=len(names) ** 2)
        ],
        "history": {
            "measured_on": "the same pictures" if blame else "held-out images of the visit",
            "accuracies": {name: [{"step": s, "accuracy": a} for s, a in steps] for name, steps in series.items()},
            "hurt": [asdict(loss) for loss in losses(series, blame=blame)],
        },
        "confusion": {"classes": list(names), "images": found.confusion.tolist()},
        "skipped": list(found.skipped),
        "seconds": found.seconds,
    }


def _tasks(found: FolderEvaluation) -> list[dict[str, Any]]:
    rows = zip(found.tasks, found.classes, found.n_test, found.accuracy, found.task_restricted_accuracy, strict=True)
    return [
        {
            "task": task + 1,
            "classes": [found.class_names[label] for label in classes],
            "images": images,
            "accuracy": accuracy,
            "task_restricted_accuracy": restricted,
        }
        for task, classes, images, accuracy, restricted in rows
    ]


def _classes(found: FolderEvaluation) -> list[dict[str, Any]]:
    """Return the classes that have pictures, the worst first."""
    images = dict(zip(found.class_names, found.confusion.sum(axis=1).tolist(), strict=True))
    accuracies = sorted(found.accuracy_of_class.items(), key=lambda entry: entry[1])
    return [{"name": name, "images": images[name], "accuracy": accuracy} for name, accuracy in accuracies]
