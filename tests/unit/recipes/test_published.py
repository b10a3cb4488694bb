"""Published figures are percent with their source, both spreads or none, and those of the library are in the tables.

The golden numbers were typed by hand from the specification, by table; those of two InfLoRA variants from the logs that
their authors released at 3c97364. The header of a recipe says the same figures.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from lorastream.recipes import load
from lorastream.recipes.published import Figures, PaperFigures, Published
from lorastream.recipes.schema import Recipe

Row = tuple[float, float | None, float, float | None]

SD_LORA_TABLE_2: dict[str, Row] = {
    "imagenet_r_n5_sd_lora sd_lora": (79.15, 0.20, 83.01, 0.42),
    "imagenet_r_n5_sd_lora sd_lora_rr": (79.01, 0.26, 82.50, 0.38),
    "imagenet_r_n5_sd_lora sd_lora_kd": (78.85, 0.29, 82.47, 0.58),
    "imagenet_r_n5_sd_lora l2p": (73.04, 0.71, 76.94, 0.41),
    "imagenet_r_n5_sd_lora dual_prompt": (69.99, 0.57, 72.24, 0.41),
    "imagenet_r_n5_sd_lora coda_prompt": (76.63, 0.27, 80.30, 0.28),
    "imagenet_r_n5_sd_lora hide_prompt": (74.77, 0.25, 78.15, 0.24),
    "imagenet_r_n10_sd_lora sd_lora": (77.34, 0.35, 82.04, 0.24),
    "imagenet_r_n10_sd_lora sd_lora_rr": (77.18, 0.39, 81.74, 0.24),
    "imagenet_r_n10_sd_lora sd_lora_kd": (77.03, 0.67, 81.52, 0.26),
    "imagenet_r_n10_sd_lora l2p": (71.26, 0.44, 76.13, 0.46),
    "imagenet_r_n10_sd_lora dual_prompt": (68.22, 0.20, 73.81, 0.39),
    "imagenet_r_n10_sd_lora coda_prompt": (74.05, 0.41, 78.14, 0.39),
    "imagenet_r_n10_sd_lora hide_prompt": (74.65, 0.14, 78.46, 0.18),
    "imagenet_r_n20_sd_lora sd_lora": (75.26, 0.37, 80.22, 0.72),
    "imagenet_r_n20_sd_lora sd_lora_rr": (74.05, 0.51, 80.65, 0.35),
    "imagenet_r_n20_sd_lora sd_lora_kd": (74.12, 0.66, 80.11, 0.75),
    "imagenet_r_n20_sd_lora l2p": (68.97, 0.51, 74.16, 0.32),
    "imagenet_r_n20_sd_lora dual_prompt": (65.23, 0.45, 71.30, 0.16),
    "imagenet_r_n20_sd_lora coda_prompt": (69.38, 0.33, 73.95, 0.63),
    "imagenet_r_n20_sd_lora hide_prompt": (73.59, 0.19, 77.93, 0.19),
}
SD_LORA_TABLE_3: dict[str, Row] = {
    "imagenet_a_n10_sd_lora sd_lora": (55.96, 0.73, 64.95, 1.63),
    "imagenet_a_n10_sd_lora sd_lora_rr": (55.59, 1.08, 64.59, 1.91),
    "imagenet_a_n10_sd_lora sd_lora_kd": (54.24, 1.12, 63.89, 0.58),
    "imagenet_a_n10_sd_lora l2p": (42.94, 1.27, 51.40, 1.95),
    "imagenet_a_n10_sd_lora dual_prompt": (45.49, 0.96, 54.68, 1.24),
    "imagenet_a_n10_sd_lora coda_prompt": (45.36, 0.78, 57.03, 0.94),
    "imagenet_a_n10_sd_lora hide_prompt": (42.70, 0.60, 56.32, 0.40),
    "imagenet_a_n10_inf_lora inf_lora": (49.20, 1.12, 60.92, 0.61),
    "domainnet_n5_sd_lora sd_lora": (72.82, 0.37, 78.89, 0.50),
    "domainnet_n5_sd_lora sd_lora_rr": (72.58, 0.40, 78.79, 0.78),
    "domainnet_n5_sd_lora sd_lora_kd": (72.15, 0.50, 78.44, 0.66),
    "domainnet_n5_sd_lora l2p": (70.26, 0.25, 75.83, 0.98),
    "domainnet_n5_sd_lora dual_prompt": (68.26, 0.90, 73.84, 0.45),
    "domainnet_n5_sd_lora coda_prompt": (70.58, 0.53, 76.68, 0.44),
    "domainnet_n5_sd_lora hide_prompt": (72.20, 0.08, 77.01, 0.04),
    "domainnet_n5_inf_lora inf_lora": (71.59, 0.23, 78.29, 0.50),
}
SD_LORA_TABLE_6: dict[str, Row] = {
    "cifar100_n10_sd_lora sd_lora": (88.01, 0.31, 92.54, 0.18),
    "cifar100_n10_sd_lora sd_lora_rr": (87.26, 0.22, 92.05, 0.31),
    "cifar100_n10_sd_lora sd_lora_kd": (87.09, 0.45, 92.01, 0.33),
    "cifar100_n10_sd_lora l2p": (83.18, 1.20, 87.69, 1.05),
    "cifar100_n10_sd_lora dual_prompt": (81.48, 0.86, 86.41, 0.66),
    "cifar100_n10_sd_lora coda_prompt": (86.31, 0.12, 90.67, 0.22),
    "cub200_n10_sd_lora sd_lora": (77.48, 0.20, 85.59, 0.44),
    "cub200_n10_sd_lora sd_lora_rr": (76.35, 0.28, 83.89, 0.35),
    "cub200_n10_sd_lora sd_lora_kd": (75.95, 0.55, 83.21, 0.31),
    "cub200_n10_sd_lora l2p": (65.18, 2.49, 76.12, 1.27),
    "cub200_n10_sd_lora dual_prompt": (68.00, 1.06, 79.40, 0.88),
    "cub200_n10_sd_lora coda_prompt": (71.92, 0.33, 78.76, 0.65),
    "cub200_n10_inf_lora inf_lora": (70.82, 0.23, 81.39, 0.14),
}
INF_LORA_PAPER: dict[str, Row] = {
    "imagenet_r_n5_inf_lora inf_lora": (77.52, 0.37, 82.01, 0.12),
    "imagenet_r_n10_inf_lora inf_lora": (75.65, 0.14, 80.82, 0.24),
    "imagenet_r_n20_inf_lora inf_lora": (71.01, 0.45, 77.28, 0.45),
    "cifar100_n10_inf_lora inf_lora": (86.51, 0.73, 91.70, 0.32),
}
LOGS: dict[str, Row] = {
    # Specification, section 5.2.
    "imagenet_r_n5_sd_lora sd_lora": (79.32, None, 83.00, None),
    "imagenet_r_n10_sd_lora sd_lora": (78.17, None, 82.59, None),
    "imagenet_r_n20_sd_lora sd_lora": (75.13, None, 79.80, None),
    "imagenet_a_n10_sd_lora sd_lora": (58.66, None, 68.77, None),
    "cifar100_n10_sd_lora sd_lora": (87.26, None, 92.05, None),
    # Section 5.5.
    "imagenet_r_n10_inf_lora inf_lora": (75.34, 0.25, 80.60, 0.48),
    "cifar100_n10_inf_lora inf_lora": (86.33, 0.81, 91.18, 0.40),
    # Read off the released logs' last top-1 curves, which stand below.
    "imagenet_r_n10_inf_lora inf_lora_b5": (73.95, None, 78.55, None),
    "imagenet_r_n10_inf_lora inf_lora_ca": (79.48, None, 83.22, None),
    "cifar100_n10_inf_lora inf_lora_b5": (86.34, None, 91.42, None),
    "cifar100_n10_inf_lora inf_lora_ca": (91.66, None, 94.51, None),
}
CURVES = {
    "imagenet_r_n10_inf_lora inf_lora_b5": [89.68, 85.86, 80.81, 78.0, 77.91, 76.46, 74.63, 74.06, 74.16, 73.95],
    "imagenet_r_n10_inf_lora inf_lora_ca": [90.11, 87.16, 85.98, 84.09, 83.19, 82.0, 80.71, 79.4, 80.12, 79.48],
    "cifar100_n10_inf_lora inf_lora_b5": [99.4, 96.7, 95.0, 92.65, 91.9, 88.82, 88.11, 87.59, 87.7, 86.34],
    "cifar100_n10_inf_lora inf_lora_ca": [99.3, 97.45, 96.1, 95.6, 94.4, 93.42, 92.63, 92.18, 92.37, 91.66],
    "imagenet_r_n5_sd_lora sd_lora": [89.64, 84.43, 81.37, 80.22, 79.32],
    "imagenet_a_n10_sd_lora sd_lora": [82.29, 78.33, 74.58, 71.92, 68.97, 66.56, 64.41, 61.70, 60.29, 58.66],
    "cifar100_n10_sd_lora sd_lora": [97.30, 96.35, 95.67, 93.85, 92.50, 91.45, 89.97, 88.70, 87.46, 87.26],
}
PAPERS = {
    "SD-LoRA (ICLR 2025, arXiv 2501.13198), Table 2": SD_LORA_TABLE_2,
    "SD-LoRA (ICLR 2025, arXiv 2501.13198), Table 3": SD_LORA_TABLE_3,
    "SD-LoRA (ICLR 2025, arXiv 2501.13198), Table 6": SD_LORA_TABLE_6,
    "InfLoRA (CVPR 2024, arXiv 2404.00228), results on ImageNet-R": INF_LORA_PAPER,
    "InfLoRA (CVPR 2024, arXiv 2404.00228), results on CIFAR-100": INF_LORA_PAPER,
}
NUMBER = r"(\d+\.\d\d)(?: ± (\d+\.\d\d))?"
LINE = re.compile(rf"^ +(\w+)(, log)? +{NUMBER} / {NUMBER}$", re.MULTILINE)
FIGURES: dict[str, Any] = {
    "average_accuracy": 80.0,
    "average_incremental_accuracy": 85.0,
    "runs": 3,
    "source": "a paper, Table 1",
}


def row(figures: Figures) -> Row:
    return (
        figures.average_accuracy,
        figures.average_accuracy_spread,
        figures.average_incremental_accuracy,
        figures.average_incremental_accuracy_spread,
    )


def all_published() -> dict[str, Published]:
    recipes = {name: load.read(name) for name in load.names()}
    return {f"{name} {method}": found for name, recipe in recipes.items() for method, found in recipe.published.items()}


def test_every_figure_of_a_paper_stands_in_the_table_that_is_named() -> None:
    papers = {key: found.paper for key, found in all_published().items() if found.paper}
    assert {key: row(paper) for key, paper in papers.items()} == {
        key: value for table in PAPERS.values() for key, value in table.items()
    }
    for key, paper in papers.items():
        assert key in PAPERS[paper.source]
        assert paper.runs == 5
        kind = "standard error" if paper.source.startswith("SD-LoRA") else "standard deviation"
        assert paper.spread == kind


def test_every_figure_of_a_log_stands_in_the_log() -> None:
    logs = {key: found.log for key, found in all_published().items() if found.log}
    assert {key: row(log) for key, log in logs.items()} == LOGS
    for key, log in logs.items():
        assert re.search(r"repository at [0-9a-f]{7}, logs/", log.source), key
        assert len(log.seeds) == log.runs


@pytest.mark.parametrize("key", CURVES)
def test_both_figures_of_a_log_are_those_of_its_curve(key: str) -> None:
    curve = CURVES[key]
    assert LOGS[key][0] == curve[-1]
    assert LOGS[key][2] == pytest.approx(sum(curve) / len(curve), abs=0.005 + 1e-9)


def test_what_another_papers_authors_measured_says_so() -> None:
    for key, found in all_published().items():
        own = key.split()[1].startswith("sd_lora")
        if found.paper and not own and found.paper.source.startswith("SD-LoRA"):
            assert "as the SD-LoRA authors ran it" in found.paper.note


def test_what_nobody_could_verify_is_not_there() -> None:
    """InfLoRA's own figures for DomainNet, and any table's for b5 and +CA, are recollections: specification, 5.4."""
    numbers = {number for found in all_published().values() if found.paper for number in row(found.paper)}
    assert not {74.53, 79.57, 73.26, 78.82, 87.06, 91.59} & numbers


@pytest.mark.parametrize("name", load.names())
def test_the_header_says_the_figures_of_the_recipe_and_no_others(name: str) -> None:
    published = load.read(name).published
    told = {(method, kind == ", log", *numbers) for method, kind, *numbers in LINE.findall(load.header(name))}
    kept = {
        (method, is_log, *("" if number is None else f"{number:.2f}" for number in row(figures)))
        for method, found in published.items()
        for is_log, figures in ((False, found.paper), (True, found.log))
        if figures
    }
    assert told == kept
    sources = [figures.source for found in published.values() for figures in (found.paper,) if figures]
    flat = " ".join(load.header(name).split())
    assert all(source in flat for source in sources)


def test_resolving_keeps_the_figures_of_the_method_alone() -> None:
    recipe = load.load("imagenet_r_n10_sd_lora", method="sd_lora_rr")
    assert set(recipe.published) == {"sd_lora_rr"}
    assert recipe.for_method("sd_lora_kd").published == {}
    assert "published" not in load.load("digits").resolved()


@pytest.mark.parametrize(
    "wrong",
    [
        {"average_accuracy": 101.0},
        {"average_accuracy": -1.0},
        {"runs": 0},
        {"source": ""},
        {"weighting": "by class"},
        {"average_accuracy_spread": 0.1},
        {"spread": "standard error"},
        {"spread": "standard error", "average_accuracy_spread": 0.1},
        {"seed": 3},
    ],
)
def test_wrong_figures_are_refused(wrong: dict[str, Any]) -> None:
    Figures.model_validate(FIGURES)
    with pytest.raises(ValidationError):
        Figures.model_validate({**FIGURES, **wrong})


def test_a_paper_says_how_its_figures_came_here() -> None:
    with pytest.raises(ValidationError, match="provenance"):
        PaperFigures.model_validate(FIGURES)


def test_a_method_may_have_figures_in_one_place_only() -> None:
    assert Published.model_validate({"log": FIGURES}).paper is None
    document = {
        "data": {"source": "digits"},
        "stream": {"tasks": 5},
        "backbone": {"name": "glyph_vit"},
        "method": {"name": "m"},
        "published": {"m": {"log": FIGURES}},
    }
    recipe = Recipe.model_validate(document)
    assert Recipe.model_validate(recipe.resolved()) == recipe
