"""Ways to damage what lorastream reads: bytes, lines, and the values inside of a document."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tomli_w
from hypothesis import strategies as st

DEEP = 3000
"""Levels of lists in one another: deeper than Python recurses."""

HUGE = (2**31, 2**63, -(2**63), 10**19, 10**400, 1e308, -1e308, 5e-324)
STRANGE = (
    "",
    " ",
    "\x00",
    "../../etc/passwd",
    "/etc/passwd",
    "~",
    "~nobody",
    "ß\u202e日本 猫",
    "\ud7ff",
    "a" * 5000,
    "[bold]",
    "%s",
)
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))


@dataclass(frozen=True)
class Mutated:
    """A damaged input.

    Attributes:
        kind: how it was damaged.
        content: what is left.
    """

    kind: str
    content: bytes


def mutated(document: bytes, load: Callable[[str], Any], dump: Callable[[Any], str]) -> st.SearchStrategy[Mutated]:
    """Damage a document once or several times.

    Args:
        document: whole.
        load: reads its text.
        dump: writes what `load` read.
    """
    whole = load(document.decode())
    of_values = _of_values(whole, dump)
    return st.one_of(_of_bytes(document), _of_lines(document), of_values, of_values)


def json_text(value: Any) -> str:
    """Write a document as JSON; NaN as JavaScript does."""
    return json.dumps(value)


def toml_text(value: Any) -> str:
    """Write a document as TOML."""
    return tomli_w.dumps(value)


@st.composite
def _of_bytes(draw: st.DrawFn, document: bytes) -> Mutated:
    kind = draw(st.sampled_from(["bytes flipped", "truncated", "bytes put in", "nested"]))
    content = bytearray(document)
    place = draw(st.integers(0, max(len(document) - 1, 0)))
    match kind:
        case "bytes flipped":
            for _ in range(draw(st.integers(1, 4))):
                content[draw(st.integers(0, len(document) - 1))] ^= draw(st.integers(1, 255))
        case "truncated":
            del content[place:]
        case "bytes put in":
            content[place:place] = draw(st.sampled_from([b"\x00", b"\xff\xfe", b"\n[a]\n", b"{", b'"', b"9" * 5000]))
        case _:
            content[place:place] = b"[" * DEEP
    return Mutated(kind, bytes(content))


@st.composite
def _of_lines(draw: st.DrawFn, document: bytes) -> Mutated:
    kind = draw(st.sampled_from(["lines removed", "lines twice", "lines swapped"]))
    lines = document.split(b"\n")
    i, j = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    match kind:
        case "lines removed":
            del lines[i : i + draw(st.integers(1, 3))]
        case "lines twice":
            lines.insert(j, lines[i])
        case _:
            lines[i], lines[j] = lines[j], lines[i]
    return Mutated(kind, b"\n".join(lines))


def values() -> st.SearchStrategy[tuple[str, Any]]:
    """Values that may stand where others belong, each with what is strange about it."""
    return st.one_of(
        st.tuples(st.just("huge number"), st.sampled_from(HUGE)),
        st.tuples(st.just("not finite"), st.sampled_from(NOT_FINITE)),
        st.tuples(st.just("strange text"), st.sampled_from(STRANGE)),
        st.tuples(st.just("any text"), st.text(max_size=20)),
        st.tuples(
            st.just("another type"),
            st.sampled_from([True, False, 0, -1, 0.5, [], {}, [[]], [1, "a"], {"a": {"b": []}}, [None], None]),
        ),
    )


@st.composite
def _of_values(draw: st.DrawFn, whole: Any, dump: Callable[[Any], str]) -> Mutated:
    """Change one value or key somewhere inside, sometimes several; what cannot be written is truncated instead."""
    document = json.loads(json.dumps(whole))
    kinds = {_change(draw, document) for _ in range(draw(st.sampled_from([1, 1, 1, 2, 5])))}
    try:
        return Mutated(min(kinds), dump(document).encode("utf-8", "surrogatepass"))
    except (TypeError, ValueError, RecursionError):
        return Mutated("truncated", dump(whole).encode()[: draw(st.integers(0, 200))])


def _change(draw: st.DrawFn, document: Any) -> str:
    holder = draw(st.sampled_from(_holders(document)))
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    action = draw(st.sampled_from(["replace", "replace", "remove", "rename", "wrap"]))
    key: Any = draw(st.sampled_from(keys)) if keys else None
    if key is None:
        return "unchanged"
    match action:
        case "remove":
            del holder[key]
            return "keys removed"
        case "rename" if isinstance(holder, dict):
            holder[draw(st.sampled_from([*STRANGE[:7], str(key).upper(), f"{key}s"]))] = holder.pop(key)
            return "keys renamed"
        case "wrap":
            holder[key] = [holder[key]] if draw(st.booleans()) else {"a": holder[key]}
            return "wrapped"
        case _:
            kind, holder[key] = draw(values())
            return kind


def _holders(document: Any) -> list[Any]:
    """Return every table and list of a document, itself first."""
    inner = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    own = [document] if isinstance(document, dict | list) else []
    return own + [holder for value in inner for holder in _holders(value)]
