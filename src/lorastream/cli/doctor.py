"""`lorastream doctor`: versions, device, threads and disk, to look at first when something is odd."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import typer

from lorastream.cli.arguments import AsJson


def doctor(*, json: AsJson = False) -> None:
    """Show what lorastream runs with and where it keeps things."""
    facts = {"versions": _versions(), "device": _device(), "disk": _disk()}
    if json:
        import json as json_module

        typer.echo(json_module.dumps(facts, indent=1))
        return
    from rich.text import Text

    from lorastream.cli import screen

    width = screen.console().width
    for number, (heading, entries) in enumerate(facts.items()):
        title = [Text(), Text(heading, style="bold")][0 if number else 1 :]
        screen.show(*title, *screen.entries([_spelt(*entry) for entry in entries.items()], width=width))


def _spelt(name: str, value: object) -> tuple[str, str]:
    """Return a fact as people read it."""
    from lorastream.reports.units import size

    if isinstance(value, bool):
        return name.replace("_", " "), "yes" if value else "no"
    if name.endswith("_bytes") and isinstance(value, int):
        return name.removesuffix("_bytes").replace("_", " "), size(value)
    return name.replace("_", " "), "none" if value is None else str(value)


def _versions() -> dict[str, object]:
    from lorastream.runs.environment import versions

    return {name: value or "not installed" for name, value in versions().items() if value or name != "commit"}


def _device() -> dict[str, object]:
    import torch

    from lorastream.runs.environment import processor

    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    kind = None if accelerator is None else accelerator.type
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if kind == "cuda" else kind,
        **({"accelerators": count} if (count := torch.accelerator.device_count()) > 1 else {}),
    }


def _disk() -> dict[str, object]:
    from lorastream.data.cache import cache_folder, cache_size

    cache = cache_folder()
    there = _nearest(cache)
    return {
        "cache_of_decoded_images": str(cache),
        "cache_can_be_written": os.access(there, os.W_OK),
        "cache_holds_bytes": cache_size(),
        "cache_free_bytes": shutil.disk_usage(there).free,
        "here_free_bytes": shutil.disk_usage(Path()).free,
    }


def _nearest(folder: Path) -> Path:
    """Return the folder itself, or the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder
