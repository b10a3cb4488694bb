"""The analyses that were made of a run, as `lorastream analyse` leaves them in its folder: a JSON and an SVG each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from lorastream.reports.page.figure import Figure, Section, data_uri

FOLDER = "analyses"
_LARGEST_DRAWING = 4_000_000
_VERDICTS = {True: "Holds on this run.", False: "Does not hold on this run."}


def analyses_section(folder: Path | None) -> Section:
    """Return the part of the page about analyses; empty where there are none.

    Args:
        folder: of the run; None where it is not known.
    """
    figures: list[Figure] = []
    faults: list[str] = []
    for file in sorted(folder.glob(f"{FOLDER}/*.json")) if folder else []:
        try:
            figures.append(_figure(file))
        except (OSError, ValueError, KeyError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            faults.append(f"{FOLDER}/{file.name} cannot be shown: {reason}.")
    return Section(name="analyses", title="Analyses", text=" ".join(faults), figures=tuple(figures))


def _figure(file: Path) -> Figure:
    document: Any = json.loads(file.read_bytes())
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 (what is wrong is the file, not a type)
    told = cast("dict[str, Any]", document)
    verdict = _VERDICTS.get(holds, "") if isinstance(holds := told.get("holds"), bool) else ""
    return Figure(
        name=f"analysis-{file.stem}",
        title=str(told["title"]),
        alt=str(told.get("alt") or told["title"]),
        caption=f"{verdict} {told['paragraph']}".strip(),
        svg=_picture(file.parent / Path(str(told["svg"])).name),
    )


def _picture(file: Path) -> str:
    """Return an SVG as an image of its own: nothing in it can reach the page, whoever made it."""
    data = file.read_bytes()
    if len(data) > _LARGEST_DRAWING:
        raise ValueError(f"{file.name} is larger than {_LARGEST_DRAWING // 1_000_000} MB")
    return f'<img alt="" src="{data_uri(data, "image/svg+xml")}">'
