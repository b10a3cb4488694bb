"""`lorastream doctor`: versions, device, threads and disk, to look at first when something is odd."""

from __future__ import annotations

import shutil
from pathlib import Path

import typer

from lorastream.cli.arguments import AsJson


def doctor(*, json: AsJson = False) -> None:
    """Show what lorastream runs with and where it keeps things."""
    facts = {**_versions(), **_device(), **_disk()}
    if json:
        import json as json_module

        typer.echo(json_module.dumps(facts, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(name, "not installed" if value is None else str(value))
    Console(highlight=False).print(table)


def _versions() -> dict[str, object]:
    from lorastream.runs.environment import versions

    return dict(versions())


def _device() -> dict[str, object]:
    import torch

    from lorastream.runs.environment import has_bf16_units, processor

    bf16 = {True: "fast", False: "slow: the processor has no units for it", None: "unknown"}
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "bf16 on the processor": bf16[has_bf16_units()],
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def _disk() -> dict[str, object]:
    from lorastream.data.cache import cache_folder

    cache = cache_folder()
    return {
        "cache of decoded images": str(cache),
        "free in the cache": _free(cache),
        "free here": _free(Path()),
    }


def _free(folder: Path) -> str:
    while not folder.exists():
        folder = folder.parent
    return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB"
