"""What a page is made of: figures with words and a table behind each, so that nobody needs to see a picture."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Table:
    """Figures as text.

    Attributes:
        headings: of the columns.
        rows: as many cells each; the first names the row.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
        """Make a table of lists."""
        return cls(headings=tuple(headings), rows=tuple(tuple(row) for row in rows))


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing, and all that is said about it.

    Attributes:
        name: lower-case words with hyphens, unlike all others of the page; ids are made of it.
        title: what it shows, in some words.
        alt: what a reader who cannot see it should know: what is drawn, and its main figures.
        caption: how to read it.
        svg: from `drawing`; or empty, where there is only the table.
        table: the numbers behind it; None where the page has them elsewhere.
        wide: it takes the whole width of the page.
    """

    name: str
    title: str
    alt: str
    caption: str = ""
    svg: str = ""
    table: Table | None = None
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Photographs that show one thing.

    Attributes:
        caption: what they show, and how often.
        alt: of each of them, for a reader who cannot see it.
        pictures: data URI of each, and where it comes from.
    """

    caption: str
    alt: str
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page under a heading.

    Attributes:
        name: as of a figure.
        title: the heading.
        text: a paragraph below it.
        figures: side by side where there is room.
        tables: title and table, open.
        galleries: side by side where there is room, at the end.
    """

    name: str
    title: str
    text: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[tuple[str, Table], ...] = ()
    galleries: tuple[Gallery, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing to say."""
        return not (self.text or self.figures or self.tables)


def data_uri(data: bytes, kind: str) -> str:
    """Return a picture as an address that holds it: as an image of its own nothing in it can reach the page.

    Args:
        data: the file's content.
        kind: its MIME type, such as "image/jpeg".
    """
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
