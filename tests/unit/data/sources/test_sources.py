"""Sources are found by file name, described without being loaded, and what they are told is checked all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorastream.data import sources
from lorastream.errors import DataError


def test_a_file_is_a_source_and_a_hidden_one_is_not() -> None:
    folder = Path(sources.__file__).parent
    files = {file.stem for file in folder.glob("*.py")}
    assert set(sources.names()) == {name for name in files if not name.startswith("_")}
    assert {"digits", "folder", "hf", "parquet", "synthetic", "torchvision"} <= set(sources.names())


@pytest.mark.parametrize("name", sources.names())
def test_every_source_says_in_a_line_what_it_is(name: str) -> None:
    assert sources.summary(name).endswith((".", ")."))
    assert 20 < len(sources.summary(name)) < 120


def test_an_unknown_source_is_answered_with_the_nearest() -> None:
    for ask in (sources.load, sources.summary):
        with pytest.raises(DataError, match="did you mean 'digits'"):
            ask("digit")


def test_all_faults_of_the_options_are_told_at_once() -> None:
    with pytest.raises(DataError) as caught:
        sources.load("synthetic", n_clases=3, size="wide", images_per_class=0)
    told = str(caught.value)
    assert len(caught.value.faults) == 3
    assert "did you mean 'n_classes'" in told
    assert "option size" in told
    assert "'wide'" in told
    assert "greater than or equal to 1" in told


def test_a_missing_option_is_named() -> None:
    with pytest.raises(DataError, match=r"folder, option root(.|\n)*set data\.root"):
        sources.load("folder")


def test_text_is_read_as_the_type_of_the_option() -> None:
    assert len(sources.load("synthetic", n_classes="3", images_per_class="2").class_names) == 3


@pytest.mark.parametrize("spec", ["torchvision", "torchvision:", "digits:3", "digits:", "hf:"])
def test_what_to_load_is_told_to_those_sources_that_need_it_and_no_others(spec: str) -> None:
    with pytest.raises(DataError, match=f"data source '{spec}'"):
        sources.load(spec)


def test_what_a_source_is_told_is_checked_without_loading(tmp_path: Path) -> None:
    sources.check("digits")
    sources.check("folder")  # what is missing may still be given
    sources.check("folder", root=tmp_path / "nowhere", test_fraction="none")
    with pytest.raises(DataError) as caught:
        sources.check("folder", root=tmp_path, test_fraction="half", roof=1)
    assert {fault.where for fault in caught.value.faults} == {
        "data source folder, option test_fraction",
        "data source folder, option roof",
    }
    with pytest.raises(DataError, match="'torchvision:' and what to load"):
        sources.check("torchvision")
