"""`lorastream learn`: teach a model a folder of new classes, today and again next month."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorastream.cli import resuming, screen
from lorastream.cli.arguments import AsJson
from lorastream.cli.visit_settings import settings_of, transforms_of
from lorastream.errors import CheckpointError, Fault, RunError
from lorastream.files import fault_of_place

if TYPE_CHECKING:
    from lorastream.learner import Learner
    from lorastream.visits.outcome import Visit

FIRST_TRY = "glyph_vit"
METHOD = "sd_lora_plus"


def learn(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder with one folder of images a class.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE", help="Settings, such as training.epochs=3 or method.rank=4.", show_default=False
        ),
    ] = None,
    *,
    into: Annotated[Path, typer.Option("--into", metavar="MODEL", help="The model's folder; made where it is not.")],
    backbone: Annotated[
        str | None, typer.Option(metavar="TAG", help="Backbone of a new model.", show_default=FIRST_TRY)
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Local file with the backbone's weights.")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PIXELS",
            help="Side of the images of a new model; smaller is faster.",
            show_default="its own",
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Method of a new model.", show_default=METHOD)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, metavar="NUMBER", help="Of a new model.", show_default="0")
    ] = None,
    same_class: Annotated[
        str, typer.Option(metavar="HOW", help="A class that is known: refuse, merge (teach it more) or new.")
    ] = "refuse",
    held_out: Annotated[float, typer.Option(metavar="PART", help="Part of each class held out for the figures.")] = 0.2,
    broken_share: Annotated[
        float, typer.Option(metavar="PART", help="Largest share of files that cannot be read.")
    ] = 0.1,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Take the update over only if it holds: 'old-drop<=1.0', 'old>=70', 'new>=80'; in quotes; repeat.",
            show_default=False,
        ),
    ] = None,
    evaluate_on: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Pictures of old classes to measure them on.", show_default=False),
    ] = None,
    resume: resuming.Resume = False,
    json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, and the closing line only.")] = False,
) -> None:
    """Teach a model the classes of a folder; what it was before can be gone back to.

    The first visit makes the model. Exit code 1: what was required does not hold, and the model is as it was.
    """
    from lorastream.runs.unfinished import RESUME
    from lorastream.visits.material import check_folder
    from lorastream.visits.requirements import parse
    from lorastream.visits.unfinished import drop

    parse(require or [])
    settings = settings_of(overrides or [], new=not _is_model(into))
    check_folder(folder.expanduser())
    if fault := fault_of_place(into, "--into"):
        raise CheckpointError.of([fault])
    resume = _is_to_resume(into, resume=resume)
    with screen.waiting("loading", silent=quiet):
        new = {"backbone": backbone, "method": method, "seed": seed, "image_size": image_size}
        learner = _learner(into, settings, new, weights=weights)
        from lorastream.visits.gate import UpdateRefusedError
    terms = {
        "same_class": same_class,
        "held_out": held_out,
        "broken_share": broken_share,
        "require": require or [],
        "evaluation": evaluate_on,
        "states": into / RESUME,
        "resume": resume,
        **settings.get("training", {}),
    }
    before = _content(into)
    refused: UpdateRefusedError | None = None
    try:
        with resuming.ending_in_order():
            made = _taught(learner, folder, terms, into, quiet=quiet)
        _save(learner, into, before)
    except UpdateRefusedError as error:
        made, refused = error.visit, error
    drop(into)
    _show(made, into, learner, is_new=before is None, json=json, quiet=quiet)
    if refused is not None:
        raise refused


def _taught(learner: Learner, folder: Path, terms: Mapping[str, Any], into: Path, *, quiet: bool) -> Visit:
    from lorastream.cli.progress import display_visit
    from lorastream.visits.unfinished import stopped

    shown = display_visit(f"{folder}", silent=quiet)
    learner.listen = shown.listen
    try:
        # Standard output is for results; what a method or a library prints goes where the progress goes.
        with shown, contextlib.redirect_stdout(sys.stderr):
            return learner.learn(folder, **terms)
    except KeyboardInterrupt:
        resuming.tell_how(kept=stopped(into) is not None)
        raise


def _is_to_resume(into: Path, *, resume: bool) -> bool:
    """Return whether to go on with a visit that was stopped; offer it on a terminal where that was not said.

    Raises:
        CheckpointError: one was stopped, and nobody said what is to become of it.
    """
    from lorastream.runs.unfinished import RESUME
    from lorastream.visits.unfinished import drop, stopped

    found = stopped(into)
    if found is None:
        drop(into)  # of a visit that is over
    elif not resume and not resuming.is_wanted(f"{into}: an unfinished visit of {found}"):
        raise CheckpointError(
            str(into),
            expected="a model that no unfinished visit waits for",
            got=f"one of {found}",
            next_step=f"go on with it: the same command with --resume; or drop it: rm -r {into / RESUME}",
        )
    return found is not None


def _learner(
    into: Path,
    settings: Mapping[str, Mapping[str, Any]],
    new: Mapping[str, Any],
    *,
    weights: Path | None,
) -> Learner:
    """Load the model, or make a new one.

    Args:
        into: the model's folder.
        settings: by table, as `settings_of` gives them.
        new: what a new model is made with: backbone, method, seed, image_size; None where it was not said.
        weights: local file with the backbone's weights.

    Raises:
        UserError: what was given does not fit.
    """
    from lorastream.learner import Learner
    from lorastream.visits.defaults import TRANSFORMS

    if _is_model(into):
        _check_same(into, new)
        return Learner.load(into, weights=weights)
    return Learner.create(
        new["backbone"] or FIRST_TRY,
        new["method"],
        weights=weights,
        image_size=new["image_size"],
        seed=new["seed"] or 0,
        transforms={**TRANSFORMS, **transforms_of(settings)},
        **settings.get("method", {}),
    )


def _check_same(into: Path, given: Mapping[str, Any]) -> None:
    """Refuse a backbone, an image size, a method or a seed that is not the model's own."""
    from lorastream.training.manifest import read_manifest

    manifest = read_manifest(into)
    own = {
        "backbone": manifest["backbone"]["name"],
        "image_size": manifest["backbone"]["image_size"],
        "method": manifest["method"]["name"],
        "seed": manifest["seed"],
    }
    options = {key: f"--{key.replace('_', '-')}" for key in own}
    faults = [
        Fault(options[key], f"{own[key]}, which {into} was made with", str(value), f"leave {options[key]} out")
        for key, value in given.items()
        if value is not None and value != own[key]
    ]
    if faults:
        raise CheckpointError.of(faults)


def _is_model(into: Path) -> bool:
    return os.path.lexists(into / "model.toml")


def _content(into: Path) -> bytes | None:
    return (into / "model.toml").read_bytes() if _is_model(into) else None


def _save(learner: Learner, into: Path, before: bytes | None) -> None:
    """Write the model.

    Raises:
        CheckpointError: the disk is full or may not be written to, or the model changed meanwhile; it stands untouched.
    """
    if _content(into) != before:
        raise CheckpointError(
            str(into),
            expected="the model as it was when this visit began",
            got="another one: something else wrote there meanwhile",
            next_step="teach the folder again, now that the other is done",
        )
    try:
        learner.save(into)
    except RunError as error:
        raise CheckpointError.of(error.faults) from error


def _show(made: Visit, into: Path, learner: Learner, *, is_new: bool, json: bool, quiet: bool) -> None:
    from lorastream.cli.visits import as_dict, closing_line, summary

    if json:
        document = {"model": str(into), **as_dict(made), "classes_known": len(learner.class_names)}
        screen.print_json(document, allow_nan=False)
    elif quiet:
        screen.show(closing_line(made, len(learner.class_names)))
    else:
        is_first_try = is_new and learner.model.backbone.identity.name == FIRST_TRY
        hints = [f"Note: {_FIRST_TRY_NOTE}"] if is_first_try else []
        saved = f"Saved in {into}" if made.is_accepted else f"{into} is as it was."
        screen.show(*summary(made, len(learner.class_names)), *hints, saved)
        if made.is_accepted:
            screen.show(f"Next: lorastream predict {into} PICTURE, or lorastream history {into}")


_FIRST_TRY_NOTE = (
    "glyph_vit is a small backbone of drawn symbols, for a first try. For photographs begin a model with "
    "--backbone TAG [--weights FILE], such as --backbone deit_tiny_patch16_224.fb_in1k."
)
