"""A published figure is shown with its source, beside its recipe, and never as ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from lorastream import methods
from lorastream.recipes import load

FIGURE = re.compile(r"\d\d\.\d\d(?: ± \d\.\d\d)? / \d\d\.\d\d")


@pytest.mark.parametrize("width", [80, 120])
def test_every_figure_follows_its_source(
    width: int, lorastream: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = lorastream("list", "recipes").out.splitlines()
    assert all(len(line) <= width for line in lines)
    shown = [index for index, line in enumerate(lines) if FIGURE.search(line)]
    assert len(shown) == sum(len(re.findall(r"(?m)^average_accuracy =", load.text(name))) for name in load.names())
    for index in shown:
        above = next(line for line in reversed(lines[:index]) if ":" in line and not FIGURE.search(line))
        assert above.strip().startswith(("Published: ", "The authors' log: ")), lines[index]
    assert lines[-1].endswith("incremental accuracy.")
    assert "none of them ours" in " ".join(lines[-2:])


def test_figures_of_one_table_stand_together(lorastream: Callable[..., Any]) -> None:
    out = lorastream("list", "recipes").out
    assert (
        """  imagenet_r_n10_sd_lora   ImageNet-R in ten tasks of 20 classes on ViT-B/16:
                           the published protocol of SD-LoRA.
    Published: SD-LoRA (ICLR 2025, arXiv 2501.13198), Table 2; 5 runs; ±
    standard error
      sd_lora     77.34 ± 0.35 / 82.04 ± 0.24
      sd_lora_rr  77.18 ± 0.39 / 81.74 ± 0.24
      sd_lora_kd  77.03 ± 0.67 / 81.52 ± 0.26
    Published: SD-LoRA (ICLR 2025, arXiv 2501.13198), Table 2; 5 runs; ±
    standard error; from one transcription; as the SD-LoRA authors ran it, on
    their checkpoint and class orders
      l2p          71.26 ± 0.44 / 76.13 ± 0.46
      dual_prompt  68.22 ± 0.20 / 73.81 ± 0.39
      coda_prompt  74.05 ± 0.41 / 78.14 ± 0.39
      hide_prompt  74.65 ± 0.14 / 78.46 ± 0.18
    The authors' log: SD-LoRA repository at 8bacded, logs/InR-T20.log (its name
    notwithstanding, ten tasks); one run; seed 1995
      sd_lora  78.17 / 82.59
"""
        in out
    )


def test_what_is_less_certain_says_so(lorastream: Callable[..., Any]) -> None:
    flat = " ".join(lorastream("list", "recipes").out.split())
    assert "Table 6; 5 runs; ± standard error; from one transcription; InfLoRA as the SD-LoRA authors ran it" in flat


def test_json_has_the_figures_as_the_recipe_has_them(lorastream: Callable[..., Any]) -> None:
    listed = json.loads(lorastream("list", "recipes", "--json").out)["recipes"]
    assert list(listed) == load.names()
    for name, recipe in listed.items():
        assert recipe["summary"] == load.summary(name)
        kept = {method: found.model_dump(exclude_unset=True) for method, found in load.read(name).published.items()}
        assert recipe["published"] == json.loads(json.dumps(kept))


def test_presets_are_methods_like_any_other(lorastream: Callable[..., Any]) -> None:
    listed = json.loads(lorastream("list", "methods", "--json").out)["methods"]
    assert {"sd_lora", "sd_lora_rr", "inf_lora_ca"} <= set(listed)
    assert listed["sd_lora_rr"].startswith("SD-LoRA-RR")


def test_traits_are_a_line_each_and_whole(lorastream: Callable[..., Any]) -> None:
    lines = {line.split()[0]: line.split() for line in lorastream("list", "--traits").out.splitlines() if line.strip()}
    assert lines["prototypes"] == ["prototypes", *["yes"] * 6, "1", "prototype"]
    assert lines["sd_lora_plus"] == ["sd_lora_plus", "yes", "yes", "yes", "1", "discriminant"]
    assert lines["l2p"][-2:] == ["2", "linear"]
    told = json.loads(lorastream("list", "methods", "--traits", "--json").out)["methods"]
    assert told.keys() == set(methods.names()) <= lines.keys()
    assert (told["aper"]["inference_passes"], told["aper"]["merges_exactly"]) == (2, False)
    assert told["ssiat"]["keeps_past_parameters_fixed"] is False, "its alignment moves the rows of past tasks"


def test_only_methods_have_traits(lorastream: Callable[..., Any]) -> None:
    told = lorastream("list", "recipes", "--traits")
    assert told.code == 2
    assert "lorastream list methods --traits" in told.err
