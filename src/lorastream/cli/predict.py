"""`lorastream predict`: what pictures show, by a model that was taught: a table, JSON or CSV."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorastream.cli import screen
from lorastream.cli.arguments import AsJson, ModelFolder, Weights
from lorastream.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from lorastream.data.pictures import Named
    from lorastream.errors import DataError
    from lorastream.learner import Learner
    from lorastream.training.answers import Prediction

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no remarks.")]
_NAMED_AT_MOST = 5


def predict(
    model: ModelFolder,
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURE", help="Pictures, or folders of them.")],
    *,
    top: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="How many classes to name.")] = 3,
    unknown: Annotated[bool, typer.Option("--unknown", help="Say `unknown` of what is like no class.")] = False,
    json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else on standard output.")] = False,
    weights: Weights = None,
    quiet: Quiet = False,
) -> None:
    """Name what pictures show, with calibrated probabilities; of several, those that are broken are left out."""
    from lorastream.data.pictures import listed
    from lorastream.training.manifest import read_manifest

    if json and as_csv:
        raise UserError(
            "--json --csv", expected="one of the two", got="both", next_step="leave one out; one format at a time"
        )
    read_manifest(model.expanduser())
    named = listed(pictures)
    if len(named) > 1:  # as many as a shell's * may give: one broken file does not stop the others
        named = [replace(picture, was_found=True) for picture in named]
    learner = _loaded(model, weights, quiet=quiet)
    begun, broken = time.perf_counter(), list["DataError"]()
    found = _asked(learner, named, top=top, unknown=unknown, broken=broken, quiet=quiet)
    if as_csv:
        _write_csv(found, top=min(top, len(learner.class_names)))
        kept = None
    else:
        kept = list(found)
    seconds = time.perf_counter() - begun
    _tell_broken(broken, of=len(named), quiet=quiet)
    if json and kept is not None:
        screen.print_json(_document(learner, kept, broken, seconds))
    elif kept is not None:
        _show(learner, kept, unknown=unknown, seconds=seconds, quiet=quiet)


def _loaded(model: Path, weights: Path | None, *, quiet: bool) -> Learner:
    with screen.waiting("loading", silent=quiet):
        from lorastream.learner import Learner

        return Learner.load(model.expanduser(), weights=weights)


def _asked(
    learner: Learner, named: list[Named], *, top: int, unknown: bool, broken: list[DataError], quiet: bool
) -> Iterator[Prediction]:
    from lorastream.cli.stages import stages

    with stages(silent=quiet or len(named) == 1, rate=True) as told:
        told("predicting", 0, len(named))
        answers = learner.asked().predictions(named, top=top, unknown=unknown, skipped=broken.append)
        for done, answer in enumerate(answers, start=1):
            yield answer
            told("predicting", done + len(broken), len(named))


def _write_csv(found: Iterator[Prediction], *, top: int) -> None:
    best = [f"{what}_{place}" for place in range(1, top + 1) for what in ("class", "probability")]
    table = csv.writer(sys.stdout, lineterminator="\n")
    for number, one in enumerate(found):
        if not number:
            table.writerow(["picture", "name", "is_unknown", "strangeness", *best])
        values = [value for name, probability in one.top for value in (name, f"{probability:.6f}")]
        strange = "" if one.strangeness is None else f"{one.strangeness:.6g}"
        table.writerow([one.picture, one.name, str(one.is_unknown).lower(), strange, *values])


def _document(learner: Learner, found: list[Prediction], broken: list[DataError], seconds: float) -> dict[str, Any]:
    calibration = learner.model.calibration
    return {
        "temperature": calibration.temperature if calibration and calibration.is_fitted else None,
        "predictions": [
            {
                "picture": one.picture,
                "name": one.name,
                "probability": one.probability,
                "is_unknown": one.is_unknown,
                "strangeness": one.strangeness,
                "top": [{"name": name, "probability": probability} for name, probability in one.top],
            }
            for one in found
        ],
        "skipped": [{"picture": fault.where, "reason": fault.got} for error in broken for fault in error.faults],
        "seconds": seconds,
    }


def _show(learner: Learner, found: list[Prediction], *, unknown: bool, seconds: float, quiet: bool) -> None:
    shared = _shared_folder([one.picture for one in found])
    strange = sum(one.is_unknown for one in found)
    number = f"{len(found):,} picture{'' if len(found) == 1 else 's'}"
    rate = f" in {seconds:.1f} s, {len(found) / seconds:,.0f} a second" if len(found) > 1 else ""
    lines = [f"{number}{rate}" + (f"; {strange:,} unknown" if unknown else "") + "."]
    calibration = learner.model.calibration
    if not (calibration and calibration.is_fitted):
        lines += ["Note: the probabilities are not calibrated, mostly too sure: `lorastream learn` calibrates."]
    screen.show(*([f"In {shared}"] if shared else []), _table(found, shared), *([] if quiet else lines))


def _table(found: list[Prediction], shared: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from lorastream.reports.units import percent

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("picture", overflow="fold", ratio=3)
    table.add_column("shows", overflow="fold", ratio=2)
    table.add_column("%", justify="right", no_wrap=True)
    table.add_column("else", overflow="fold", ratio=3)
    for one in found:
        others = one.top if one.is_unknown else one.top[1:]
        told = ", ".join(f"{name} {percent(probability)}" for name, probability in others)
        name = os.path.relpath(one.picture, shared) if shared else one.picture
        sure = "" if one.is_unknown else percent(one.probability)
        table.add_row(Text(name), Text(one.name), sure, Text(f"nearest {told}" if one.is_unknown else told))
    return table


def _shared_folder(pictures: list[str]) -> str:
    """Return the folder that all lie in, so that it is told once; nothing where that is here, or there is but one."""
    folders = [os.path.dirname(picture) for picture in pictures]  # noqa: PTH120 (as it was typed: no ./ is taken away)
    if len(pictures) < 2 or len({os.path.isabs(folder) for folder in folders}) > 1:  # noqa: PLR2004, PTH117
        return ""
    return os.path.commonpath(folders)


def _tell_broken(broken: list[DataError], *, of: int, quiet: bool) -> None:
    from lorastream.errors import DataError

    faults = [fault for error in broken for fault in error.faults]
    if len(broken) == of:
        raise DataError.of(faults)
    if not faults or quiet:
        return
    told = [f"  {fault.where}: {fault.got}" for fault in faults[:_NAMED_AT_MOST]]
    told += [f"  and {len(faults) - _NAMED_AT_MOST:,} more"] if len(faults) > _NAMED_AT_MOST else []
    screen.show(f"{len(faults):,} of {of:,} left out, as they cannot be decoded:", *told, stderr=True)
