"""Every method has a card, the index leads to it, and the figures on it are those of records and of recipes."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lorastream import methods
from lorastream.recipes import catalogue
from lorastream.runs import RunRecord, store
from lorastream.runs.record import BackboneRecord, DatasetRecord, EpochResult, TaskResult

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "docs" / "methods.md"
CARDS = sorted((ROOT / "docs" / "methods").glob("*.md"))
SECTIONS = ["Formula", "When to use", "When it hurts", "Cost", "Source", "Figures"]
VIT = "vit_base_patch16_224.augreg2_in21k_ft_in1k"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.append(str(ROOT / "scripts"))
    return importlib.import_module("method_figures")


def write(results: Path, seed: int, accuracy: float, *, recipe: str = "small", backbone: str = "tiny") -> None:
    """Write a finished run of sd_lora: one task of CIFAR-100, four epochs."""
    record = RunRecord(
        recipe={
            "name": recipe,
            "data": {"source": "benchmark:cifar100", "images_per_class": 20},
            "method": {"name": "sd_lora"},
            "training": {"epochs": 4, "batch_size": 128},
        },
        seed=seed,
        backbone=BackboneRecord(name=backbone, image_size=32),
        dataset=DatasetRecord(name="cifar100"),
        epochs=(EpochResult(task=0, epoch=3),),
    )
    task = TaskResult(classes=("a", "b"), n_train=1200, n_test=10, accuracy=(accuracy,), stored_bytes=2000)
    store.write(record.with_task(task).ended("finished"), store.claim(results / recipe / "sd_lora" / str(seed)))


def test_every_method_has_a_card_and_every_card_a_method() -> None:
    assert [card.stem for card in CARDS] == methods.names()


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_a_card_has_all_of_its_parts_and_its_own_figures(card: Path) -> None:
    text = card.read_text("utf-8")
    assert text.startswith(f"# `{card.stem}`\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert re.findall(r"<!-- figures: (\S+) -->\n\n.+?\n\n<!-- end -->", text, re.DOTALL) == [card.stem]


@pytest.mark.parametrize("page", [INDEX, *CARDS], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    headings = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", INDEX.read_text("utf-8"), re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert (page.parent / path).exists(), target
        assert not anchor or anchor in headings, target


def test_the_index_leads_to_every_card_once() -> None:
    lines = re.findall(r"^\| \[`(\w+)`\]\(methods/(\w+)\.md\) \|", INDEX.read_text("utf-8"), re.MULTILINE)
    assert all(name == target for name, target in lines)
    assert sorted(name for name, _ in lines) == methods.names()


def test_ours_are_mean_and_deviation_over_the_seeds(script: ModuleType, tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.40, 0.45, 0.50)):
        write(tmp_path, seed, accuracy)
    told = script.method_figures("sd_lora", tmp_path)
    assert "| small | 3 | 45.0 ± 5.0 |" in told
    assert "2.0 kB" in told
    assert "- `small`: tiny at 32 px, 1,200 training and 10 test images, one task, 4 epochs a task." in told


def test_published_figures_stand_as_the_recipes_quote_them(script: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, 0, 0.4)
    told = script.method_figures("sd_lora", tmp_path)
    assert "| cifar100_n10_sd_lora | 88.01 ± 0.31 | 92.54 ± 0.18 | 5 | [1] |" in told
    assert "| cifar100_n10_sd_lora | 87.26 | 92.05 | 1 | [2] |" in told
    assert "- [2] SD-LoRA repository at 8bacded, logs/C100.log, weighted by image, the authors' log." in told
    quoting = [name for name in catalogue.names() if "sd_lora" in catalogue.published(name)]
    assert len(quoting) > 1
    assert all(f"| {name} |" in told for name in quoting)


def test_what_differs_from_the_published_runs_is_said(script: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, 0, 0.4)
    told = script.method_figures("sd_lora", tmp_path)
    apart = "- Not comparable with ours, for they had another backbone, {}, more epochs: "
    assert apart.format("more images") + "`cifar100_n10_sd_lora`." in told
    assert apart.format("other images") + "`cub200_n10_sd_lora`, " in told


def test_a_run_of_the_published_recipe_is_compared_setting_by_setting(script: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, 0, 0.4, recipe="cifar100_n10_sd_lora", backbone=VIT)
    told = script.method_figures("sd_lora", tmp_path)
    assert "which had training.epochs 4 instead of 20: `cifar100_n10_sd_lora`." in told


def test_without_runs_and_without_published_figures_it_says_so(script: ModuleType, tmp_path: Path) -> None:
    told = script.method_figures("prototypes", tmp_path)
    assert "not measured yet" in told
    assert "nothing that a recipe of lorastream quotes" in told
    assert not re.search(r"\d", told)
