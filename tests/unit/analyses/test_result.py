"""An analysis is left as JSON and SVG beside each other, both whole, the same bytes for the same figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorastream.analyses.catalogue import SUMMARIES, chosen, find
from lorastream.analyses.drawing import heat_map, svg
from lorastream.analyses.result import Analysis, write
from lorastream.errors import UserError

FOUND = Analysis(
    what="path",
    title="A title",
    claim="A claim",
    paragraph="A paragraph",
    holds=None,
    figures={"third": 1 / 3, "rows": [(1.0, None)]},
    drawing="<svg/>",
    alt="A plot",
)


def test_what_is_written(tmp_path: Path) -> None:
    path = write(FOUND, tmp_path)
    assert path == tmp_path / "analyses" / "path.json"
    document = json.loads(path.read_text())
    assert document["figures"] == {"third": 0.333333, "rows": [[1.0, None]]}
    assert {"title", "paragraph", "svg", "alt", "holds", "claim", "what"} <= document.keys()
    assert (path.parent / document["svg"]).read_text() == "<svg/>"
    before = path.read_bytes()
    assert write(FOUND, tmp_path).read_bytes() == before


def test_a_plot_is_the_same_bytes_every_time() -> None:
    def draw() -> str:
        table = [[None, 0.5], [1.0, None]]
        return svg(lambda f: heat_map(f.subplots(), table, names=["1", "2"], largest=1.0), width=3)

    assert draw() == draw()
    assert "0.50" in draw()


def test_every_analysis_can_be_found() -> None:
    assert all(callable(find(name)) for name in SUMMARIES)


def test_names_are_chosen() -> None:
    assert chosen("path, closeness,path") == ["path", "closeness"]
    assert chosen("path,all") == list(SUMMARIES)
    with pytest.raises(UserError, match="did you mean 'path'"):
        chosen("paht")
    with pytest.raises(UserError, match="expected: names separated by commas"):
        chosen(" ,")
