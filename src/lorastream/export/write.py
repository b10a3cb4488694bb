"""Export a learner: merge, write beside, load in the other library, compare, and only then put it in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from lorastream.errors import MissingExtraError, UserError, unknown_name
from lorastream.export import equality
from lorastream.export.destination import MARKER, check_destination, replaced
from lorastream.export.exporter import Exported, Exporter
from lorastream.export.merged import Merged, merge
from lorastream.files import write_atomically
from lorastream.learner import Learner

TARGETS: Mapping[str, str] = {
    "timm": "safetensors that timm.create_model loads",
    "hf": "a folder that transformers' image classifiers load",
    "peft": "one LoRA adapter that peft loads on the plain backbone",
    "onnx": "an ONNX graph for onnxruntime and other engines",
    "torch": "a torch.export program that needs torch alone",
}
TOLERANCE = 1e-4
_MODULES = {name: f"lorastream.export.to_{name}" for name in TARGETS}


def exporter_of(target: str) -> Exporter:
    """Return the exporter of a target.

    Raises:
        UserError: no such target.
        MissingExtraError: what it needs is not installed.
    """
    if target not in TARGETS:
        raise UserError.of([unknown_name("export, to", kind="target", got=target, choices=TARGETS)])
    exporter = cast("Exporter", import_module(_MODULES[target]))
    for package in exporter.PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError.missing(f"export to {target}", package=package, extra="export")
    return exporter


def export_model(
    learner: Learner, to: str, out: str | Path, *, pictures: str | Path | None = None, tolerance: float = TOLERANCE
) -> Exported:
    """Write a learner for another library, and see that it gives the same logits there.

    The learner stays as it was. What stands at `out` is replaced only by an export that passed, in one rename.

    Args:
        learner: it must know a class.
        to: one of `TARGETS`.
        out: the folder to write.
        pictures: a folder of pictures to compare on; seeded images by default.
        tolerance: the largest difference of any logit that passes, at least 0.

    Raises:
        UserError: the target, the place or the pictures are not as they must be, or the target cannot express it.
        MissingExtraError: what the target needs is not installed.
        RunError: the logits differ by more than the tolerance, or the disk is full.
    """
    exporter, out = exporter_of(to), Path(out).expanduser()
    check_destination(out)
    inputs = equality.seeded_images(learner) if pictures is None else equality.pictures(learner, Path(pictures))
    merged = merge(learner)
    with replaced(out) as fresh:
        notes = [*exporter.write(merged, fresh), *_calibrated(merged)]
        difference = equality.largest_difference(merged.reference, exporter.load(merged, fresh), inputs.images)
        equality.check(to, difference, tolerance, inputs)
        facts = {"target": to, "largest_difference": difference, "compared_on": inputs.described, "notes": notes}
        _write_facts(fresh, merged, facts)
        files = tuple((p.relative_to(fresh).as_posix(), p.stat().st_size) for p in sorted(fresh.rglob("*")))
    return Exported(
        target=to,
        folder=out,
        files=files,
        largest_difference=difference,
        tolerance=tolerance,
        compared=inputs.described,
        notes=tuple(note.replace("FOLDER", out.as_posix()) for note in notes),
        loading=tuple(exporter.lines(merged)),
    )


def _write_facts(folder: Path, merged: Merged, facts: Mapping[str, Any]) -> None:
    from lorastream import __version__

    backbone = merged.learner.model.backbone.identity.to_dict()
    about = {"lorastream": __version__, **facts, "method": merged.learner.method_name, "backbone": backbone}
    for name, content in {**merged.facts, MARKER: about}.items():
        write_atomically(folder / name, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _calibrated(merged: Merged) -> list[str]:
    """Return how probabilities are made of the logits, where that is known."""
    known = merged.calibration
    if known is None:
        return []
    return [f"probabilities are softmax(logits / {known['temperature']:.3g}), as calibration.json has it"]
