"""What the verbs write with: one width, one look, and no blanks at the ends of lines in a file."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import ProgressColumn
    from rich.text import Text

_NARROWEST = 24  # columns that a text takes at least, however long the names before it


def console(*, stderr: bool = False) -> Console:
    """Return the console of a stream: as wide as the terminal or COLUMNS says, 80 columns in a file."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def show(*parts: RenderableType, stderr: bool = False) -> None:
    """Print things one below the other; text is wrapped between words alone, so that paths can be copied."""
    target = console(stderr=stderr)
    with target.capture() as captured:
        for part in parts:
            for line in wrapped(part, target.width) if isinstance(part, str) else [part]:
                target.print(line, soft_wrap=_is_text(line))
    text = captured.get()
    target.file.write(text if target.is_terminal else re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE))
    target.file.flush()


def print_json(document: Any, *, allow_nan: bool = True) -> None:  # noqa: ANN401 (any plain value)
    """Print plain values as JSON on standard output."""
    import json

    typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=allow_nan))


def wrapped(text: str, width: int, style: str = "") -> list[Text]:
    """Return a text in lines of so many columns; a word that is longer stays whole."""
    from rich.cells import cell_len
    from rich.text import Text

    first, *words = text.split(" ")
    lines = [first]
    for word in words:
        longer = f"{lines[-1]} {word}"
        lines[-1:] = [longer] if cell_len(longer) <= width else [lines[-1], word]
    return [Text(line.rstrip(), style=style) for line in lines]


def entries(pairs: Iterable[tuple[str, str]], *, width: int, style: str = "") -> list[Text]:
    """Return names with their texts beside them.

    Args:
        pairs: name and text.
        width: of a line, in columns.
        style: of the names.
    """
    from rich.cells import cell_len
    from rich.text import Text

    known = list(pairs)
    column = 4 + max((cell_len(name) for name, _ in known), default=0)
    lines: list[Text] = []
    for name, text in known:
        for i, line in enumerate(wrapped(text, max(width - column, _NARROWEST))):
            label = f"  {name}".ljust(column + len(name) - cell_len(name)) if i == 0 else " " * column
            lines.append(Text().append(label, style).append_text(line))
    return lines


def bar_columns(*, label: int, bar: int, figures: int) -> list[ProgressColumn]:
    """Return what a line of progress is made of: what, a bar, its field `figures`, and the time left.

    Args:
        label: columns of the name of the work, so that nothing moves while it changes.
        bar: columns of the bar.
        figures: columns that the figures take at least.
    """
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    return [
        TextColumn("{task.description}", table_column=Column(min_width=label, max_width=label, no_wrap=True)),
        BarColumn(bar_width=bar),
        TextColumn("{task.fields[figures]}", table_column=Column(min_width=figures, no_wrap=True)),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    ]


@contextmanager
def waiting(message: str, *, silent: bool) -> Generator[None]:
    """Say on a terminal what takes a while, before there is progress to show."""
    target = console(stderr=True)
    if silent or not target.is_terminal or not is_first_process():
        yield
        return
    with target.status(message):
        yield


def is_first_process() -> bool:
    """Whether this process, of those that share a run, is the one that shows things; known before torch is loaded."""
    return os.environ.get("RANK", "0") == "0"


def _is_text(part: object) -> bool:
    from rich.text import Text

    return isinstance(part, Text)
