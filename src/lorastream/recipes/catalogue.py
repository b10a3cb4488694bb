"""Find recipes and read their text, as it was written; nothing is checked here and nothing heavy imported."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from lorastream.errors import RecipeError, unknown_name

_PLACE = re.compile(r"(.*) \(at (.*)\)", re.DOTALL)
_LONGEST_NAME = 60  # characters shown of a name that no file can have


def names() -> list[str]:
    """Return the names of the recipes that lorastream ships, sorted."""
    return sorted(_library())


def text(name_or_path: str | Path) -> str:
    """Return a recipe's TOML text as it was written, comments and all.

    Args:
        name_or_path: a recipe of the library, or a file.

    Raises:
        RecipeError: there is none of that name, or the file cannot be read.
    """
    return _text_of(find(name_or_path))


def read_toml(file: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        RecipeError: it cannot be read, or is no TOML.
    """
    written = _text_of(file)
    try:
        return tomllib.loads(written)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a list in a list in a list ...
        message = f"{error}" if isinstance(error, ValueError) else "lists or tables in one another without end"
        found = _PLACE.fullmatch(message)
        where, got = (f"{file.name}: {found[2]}", found[1]) if found else (file.name, message)
        step = "text needs quotes, a list brackets, a section a line of its own"
        raise RecipeError(where, expected="valid TOML", got=got, next_step=step) from error


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        got, step = f"{error.strerror or error}", "check the path, or take a recipe of `lorastream list`"
        raise RecipeError(str(path), expected="a TOML file", got=got, next_step=step) from error
    except UnicodeDecodeError as error:
        got = f"a byte that is not UTF-8 at offset {error.start}"
        raise RecipeError(str(path), expected="a TOML file", got=got, next_step="save the file as UTF-8") from error


def header(name_or_path: str | Path) -> str:
    """Return the comment a recipe opens with, without the signs: what it is, its source, what to expect."""
    lines: list[str] = []
    for line in text(name_or_path).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


def summary(name_or_path: str | Path) -> str:
    """Return the first line of a recipe's header, for lists."""
    return header(name_or_path).partition("\n")[0]


def published(name: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what others measured on a recipe of the library, as it is written: by method, then `paper` or `log`.

    The fields are those of `recipes.published`.
    """
    return tomllib.loads(text(name)).get("published", {})


def find(name_or_path: str | Path) -> Path:
    """Return a recipe's file, whether it is there or not.

    Raises:
        RecipeError: it is neither a name of the library nor the path of a file.
    """
    library = _library()
    if str(name_or_path) in library:
        return library[str(name_or_path)]
    path = _path(name_or_path)
    if path.is_dir():
        raise RecipeError(
            str(path),
            expected="a recipe of the library, or a .toml file",
            got="a folder",
            next_step=f"to learn a folder of images: lorastream run folder data.root={path}",
        )
    if path.suffix == ".toml" or path.is_file() or len(path.parts) > 1:
        return path
    raise RecipeError.of(
        [unknown_name("recipe", kind="recipe or a .toml file", got=str(name_or_path), choices=library)]
    )


def _path(name_or_path: str | Path) -> Path:
    """Return what was given as a path.

    Raises:
        RecipeError: no file can be called so.
    """
    # Unlike Path.expanduser it leaves the home of a user whom nobody knows as it is.
    path = Path(os.path.expanduser(name_or_path))  # noqa: PTH111
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return path  # whoever reads it says so
    except (OSError, ValueError) as error:  # too long a name, or a NUL in it
        step = "check the path, or take a recipe of `lorastream list`"
        got = f"{str(path)[:_LONGEST_NAME]!r}: {getattr(error, 'strerror', None) or error}"
        raise RecipeError("recipe", expected="a recipe, or a TOML file", got=got, next_step=step) from error
    return path


def _library() -> dict[str, Path]:
    return {path.stem: path for path in (Path(__file__).parent / "library").glob("*.toml")}
