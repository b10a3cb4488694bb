"""`lorastream run`: learn a recipe's stream with one or several methods and seeds, and show what came of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorastream.cli import resuming, screen
from lorastream.cli import track as tracking
from lorastream.cli.arguments import AsJson, Overrides, RecipeName
from lorastream.errors import CheckpointError, Fault, RecipeError
from lorastream.files import fault_of_place

if TYPE_CHECKING:
    from lorastream.recipes.schema import Recipe
    from lorastream.runs.record import RunRecord

DEFAULT_ROOT = Path("runs")


def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    *,
    methods: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Methods to run, separated by commas; the recipe's own by default."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="How many seeds to run, counting up from the recipe's.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the run; several methods or seeds go into <method>/<seed> below it. "
            "Default: runs/<recipe>/<method>/<seed>-<id>.",
            show_default=False,
        ),
    ] = None,
    resume: resuming.Resume = False,
    track: tracking.Track = None,
    thumbnails: Annotated[
        bool,
        typer.Option(
            "--thumbnails",
            help="Keep small pictures of mistaken test images and show them on the run's page.",
        ),
    ] = False,
    json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, and the closing line only.")] = False,
) -> None:
    """Learn a recipe's tasks one after another and evaluate every class seen after each."""
    tracking.check(track)
    with screen.waiting("loading", silent=quiet):
        plans = _plans(recipe, overrides or [], methods, seeds)
        folders = [_folder(out, plan, alone=len(plans) == 1) for plan in plans]
    resume = resume or _is_to_resume(folders)
    with screen.waiting("loading", silent=quiet):
        _check(folders, resume=resume)
        from lorastream import experiment
        from lorastream.training.device import working_together
    finished: list[tuple[RunRecord, Path]] = []
    with resuming.ending_in_order(), working_together() as together:
        try:
            run_recipe = partial(experiment.run, root=DEFAULT_ROOT, resume=resume, thumbnails=thumbnails)
            _run_all(run_recipe, plans, folders, finished, quiet=quiet, track=track)
        except KeyboardInterrupt:
            place = out or DEFAULT_ROOT / plans[0].name
            if together.is_main_process and place.is_dir():
                typer.echo(f"What was learnt is recorded: lorastream report {place}", err=True)
                resuming.tell_how(kept=True)
            raise
        finally:
            if finished and together.is_main_process:
                _show(finished, several=len(plans) > 1, json=json, quiet=quiet)


def _run_all(
    run_recipe: Callable[..., tuple[RunRecord, Path]],
    plans: list[Recipe],
    folders: list[Path | None],
    finished: list[tuple[RunRecord, Path]],
    *,
    quiet: bool,
    track: str | None,
) -> None:
    """Run the plans one after another; those that finished are known also where a later one fails."""
    from lorastream.cli.progress import display
    from lorastream.reports.page.live import LivePage
    from lorastream.training.events import Note

    for number, (plan, folder) in enumerate(zip(plans, folders, strict=True), start=1):
        shown = display(plan, number=number, of=len(plans), silent=quiet)
        # Standard output is for results; what a method or a library prints goes where the progress goes.
        with shown, contextlib.redirect_stdout(sys.stderr):
            page = LivePage(lambda text, listen=shown.listen: listen(Note(text=text)))
            listen, recorded = tracking.followed(track, shown.listen, page)
            finished.append(run_recipe(plan, folder, listen=listen, recorded=recorded))


def _plans(recipe: str, overrides: list[str], methods: str | None, seeds: int) -> list[Recipe]:
    """Return one recipe for every method and seed.

    Raises:
        RecipeError: the faults of all methods at once.
    """
    from lorastream.recipes.build import load

    bases: list[Recipe] = []
    faults: list[Fault] = []
    for name in [None] if methods is None else _names(methods):
        try:
            bases.append(load(recipe, overrides, method=name))
        except RecipeError as error:
            told = [replace(f, where="--methods") if methods and f.where == "method.name" else f for f in error.faults]
            faults += [fault for fault in told if fault not in faults]
    if faults:
        raise RecipeError.of(faults)
    return [base.model_copy(update={"seed": base.seed + i}) for base in bases for i in range(seeds)]


def _names(methods: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in methods.split(",") if name.strip()))
    if not names:
        raise RecipeError(
            "--methods",
            expected="names separated by commas",
            got=repr(methods),
            next_step="for example --methods sequential_lora,sd_lora",
        )
    return names


def _folder(out: Path | None, plan: Recipe, *, alone: bool) -> Path | None:
    if out is None or alone:
        return out
    return out / plan.method.name / str(plan.seed)


def _is_to_resume(folders: list[Path | None]) -> bool:
    """Offer on a terminal to go on where a folder holds a run that was stopped."""
    from lorastream.runs.unfinished import is_unfinished, where_stopped

    stopped = [folder for folder in folders if folder is not None and is_unfinished(folder)]
    if not stopped:
        return False
    more = f" and {len(stopped) - 1} more" if len(stopped) > 1 else ""
    return resuming.is_wanted(f"{stopped[0]}{more}: an unfinished run, stopped {where_stopped(stopped[0])}")


def _check(folders: list[Path | None], *, resume: bool) -> None:
    """Refuse folders that cannot be used before hours are spent.

    Raises:
        CheckpointError: one holds a run already that is not to be gone on with, or cannot be made.
    """
    faults = [
        fault
        for folder in folders
        for fault in _folder_faults(folder or DEFAULT_ROOT, new=folder is not None and not resume)
    ]
    if faults:
        raise CheckpointError.of(list(dict.fromkeys(faults)))


def _folder_faults(folder: Path, *, new: bool) -> list[Fault]:
    from lorastream.runs.store import fault_of_taken

    found = (fault_of_taken(folder) if new else None) or fault_of_place(folder, "--out")
    return [found] if found else []


def _show(finished: list[tuple[RunRecord, Path]], *, several: bool, json: bool, quiet: bool) -> None:
    from lorastream.reports import accuracy_matrices, closing_line, summary_table

    records = [record for record, _ in finished]
    if json:
        import json as json_module

        documents = [{"folder": str(folder), **record.to_json()} for record, folder in finished]
        typer.echo(json_module.dumps(documents if several else documents[0], indent=1, allow_nan=False))
    elif quiet:
        screen.show(closing_line(records))
    else:
        notes = dict.fromkeys(f"Note: {note}." for record in records for note in record.notes)
        places = [f"Saved in {folder}" for _, folder in finished]
        screen.show(accuracy_matrices(records), summary_table(records), closing_line(records), *notes, *places)
