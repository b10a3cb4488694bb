"""The recipes of the published protocols say what their sources say: specification, sections 1.4, 4.4, 4.5 and 5.6."""

from __future__ import annotations

import math
from typing import Any

import pytest
import timm

from lorastream.data.split import StreamConfig, deal_classes
from lorastream.methods import build, names
from lorastream.recipes import load
from lorastream.recipes.build import load as load_checked
from lorastream.training.optimiser import lr_factor

CLASSES = {"imagenet_r": 200, "imagenet_a": 200, "cifar100": 100, "cub200": 200, "domainnet": 345}
TASKS = {
    "imagenet_r_n5": 5,
    "imagenet_r_n10": 10,
    "imagenet_r_n20": 20,
    "imagenet_a_n10": 10,
    "cifar100_n10": 10,
    "cub200_n10": 10,
    "domainnet_n5": 5,
}
FAMILIES = {
    "sd_lora": ["sd_lora", "sd_lora_rr", "sd_lora_kd"],
    "inf_lora": ["inf_lora", "inf_lora_b5", "inf_lora_ca"],
}
PROTOCOLS = [(f"{stem}_{family}", family, stem) for stem in TASKS for family in FAMILIES]
BY_SEED = {  # specification, section 1.4: the first classes of the published orders
    (1993, 200): [168, 136, 51, 9, 183, 101, 171, 99, 42, 159],
    (1995, 200): [146, 198, 169, 126, 142, 183, 108, 86, 79, 35],
    (1993, 100): [68, 56, 78, 8, 23, 84, 90, 65, 74, 76],
}
SD_TRAINING: dict[str, dict[str, Any]] = {
    "imagenet_r_n5": {"lr": 0.01, "epochs": 20},
    "imagenet_r_n10": {"lr": 0.01, "epochs": 20},
    "imagenet_r_n20": {"lr": 0.01, "epochs": 20},
    "imagenet_a_n10": {"lr": 0.01, "epochs": 20},
    "cifar100_n10": {"lr": 0.008, "epochs": 20},
    "cub200_n10": {"lr": 0.008, "epochs": 20},
    "domainnet_n5": {
        "lr": 0.02,
        "epochs": 10,
        "schedule": "multistep",
        "milestones": (4, 6, 8),
        "decay_factor": 0.005,
    },
}
ADAM = {"optimiser": "adam", "schedule": "quarter_cosine", "weight_decay": 0.0, "head_lr": None, "alignment": None}
CA_COSINE = {"optimiser": "sgd", "momentum": 0.9, "lr": 1e-3, "schedule": "cosine", "head_lr": None}
DOMAINS = {
    "optimiser": "sgd",
    "momentum": 0.9,
    "lr": 5e-3,
    "head_lr": 1e-2,
    "epochs": 5,
    "weight_decay": 0.0,
    "schedule": "multistep",
    "milestones": (4,),
    "decay_factor": 0.1,
}
INF_TRAINING: dict[tuple[str, str], dict[str, Any]] = {
    **{(f"imagenet_r_n{n}", "inf_lora"): {**ADAM, "lr": 5e-4, "epochs": 50} for n in (5, 10, 20)},
    **{(f"imagenet_r_n{n}", "inf_lora_b5"): {**ADAM, "lr": 5e-4, "epochs": 50} for n in (5, 10, 20)},
    **{(f"imagenet_r_n{n}", "inf_lora_ca"): {**CA_COSINE, "epochs": 50, "weight_decay": 0.0} for n in (5, 10, 20)},
    ("cifar100_n10", "inf_lora"): {**ADAM, "lr": 5e-4, "epochs": 20},
    ("cifar100_n10", "inf_lora_b5"): {**ADAM, "lr": 1e-3, "epochs": 20},
    ("cifar100_n10", "inf_lora_ca"): {
        "optimiser": "sgd",
        "momentum": 0.9,
        "lr": 1e-3,
        "head_lr": 1e-2,
        "weight_decay": 1e-3,
        "epochs": 20,
        "schedule": "multistep",
        "milestones": (18,),
        "decay_factor": 0.1,
    },
    **{("domainnet_n5", method): DOMAINS for method in FAMILIES["inf_lora"]},
}
INF_OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    **{(f"imagenet_r_n{n}", "inf_lora"): {"threshold": 0.98, "rank": 10, "memory": "dual"} for n in (5, 10, 20)},
    ("imagenet_r_n5", "inf_lora_b5"): {"threshold": 0.98, "blocks": 5, "memory": "plain"},
    ("imagenet_r_n10", "inf_lora_b5"): {"threshold": 0.99, "blocks": 5, "memory": "plain"},
    ("imagenet_r_n20", "inf_lora_b5"): {"threshold": 0.99, "blocks": 5, "memory": "plain"},
    ("imagenet_r_n10", "inf_lora_ca"): {"threshold": 0.95, "rank": 10, "memory": "plain", "blocks": None},
    ("cifar100_n10", "inf_lora"): {"threshold": 0.95, "rank": 10, "memory": "dual"},
    ("cifar100_n10", "inf_lora_b5"): {"threshold": 0.95, "rank": 10, "blocks": 5},
    ("cifar100_n10", "inf_lora_ca"): {"threshold": 0.95, "rank": 5, "memory": "plain"},
    ("domainnet_n5", "inf_lora"): {"threshold": 0.95, "rank": 30, "memory": "plain"},
    ("domainnet_n5", "inf_lora_b5"): {"threshold": 0.95, "rank": 30, "memory": "plain", "blocks": 5},
}


def test_every_protocol_has_a_recipe_for_each_family() -> None:
    assert {name for name, _, _ in PROTOCOLS} == {name for name in load.names() if name.endswith(tuple(FAMILIES))}


@pytest.mark.parametrize(("name", "family", "stem"), PROTOCOLS)
def test_every_method_of_a_family_passes_every_check(name: str, family: str, stem: str) -> None:
    assert load.read(name).method_names() == FAMILIES[family]
    for method in FAMILIES[family]:
        recipe = load_checked(name, method=method)
        assert recipe.stream.tasks == TASKS[stem]
        assert recipe.data.source == f"benchmark:{stem.rpartition('_')[0]}"
        assert (recipe.data.normalisation, recipe.training.batch_size) == ("zero_one", 128)
        assert recipe.training.precision == "fp32"
        assert recipe.backbone.name in timm.list_pretrained("vit_base_patch16_224*")


@pytest.mark.parametrize(("name", "family", "stem"), PROTOCOLS)
def test_classes_arrive_as_in_the_source(name: str, family: str, stem: str) -> None:
    recipe, n = load.load(name), CLASSES[stem.rpartition("_")[0]]
    stream = recipe.stream
    dealt = deal_classes(
        [str(label) for label in range(n)], StreamConfig(tasks=stream.tasks, order=stream.order), seed=recipe.seed
    )
    assert [len(labels) for labels in dealt] == [n // TASKS[stem]] * TASKS[stem]
    arrival = [label for labels in dealt for label in labels]
    if family == "inf_lora":
        assert (recipe.seed, arrival) == (0, list(range(n)))
    elif (recipe.seed, n) in BY_SEED:
        assert arrival[:10] == BY_SEED[recipe.seed, n]
    else:
        assert (stem, recipe.seed) == ("domainnet_n5", 1993)
        assert arrival != list(range(n))


def test_the_seed_of_the_run_is_that_of_the_class_order() -> None:
    """So that five runs of SD-LoRA see five orders, and five runs of InfLoRA one."""
    assert load.load("imagenet_r_n10_sd_lora", ["seed=1996"]).stream.order_seed is None
    seeds = {stem: load.load(f"{stem}_sd_lora").seed for stem in TASKS}
    assert {stem for stem, seed in seeds.items() if seed == 1995} == {stem for stem in TASKS if "imagenet_r" in stem}
    assert set(seeds.values()) == {1993, 1995}


@pytest.mark.parametrize("stem", TASKS)
@pytest.mark.parametrize("method", FAMILIES["sd_lora"])
def test_sd_lora_trains_as_its_source(stem: str, method: str) -> None:
    recipe = load.load(f"{stem}_sd_lora", method=method)
    usual = {"optimiser": "sgd", "momentum": 0.9, "weight_decay": 0.0, "schedule": "constant", "alignment": None}
    expected = {**usual, **SD_TRAINING[stem]}
    assert {key: getattr(recipe.training, key) for key in expected} == expected
    assert recipe.method.hyperparameters == {}
    assert (recipe.data.train_transform, recipe.data.test_transform) == ("paper", "paper")
    assert recipe.backbone.name == "vit_base_patch16_224.augreg2_in21k_ft_in1k"


@pytest.mark.parametrize(("stem", "method"), INF_TRAINING)
def test_inf_lora_trains_as_its_source(stem: str, method: str) -> None:
    training = load.load(f"{stem}_inf_lora", method=method).training
    expected = INF_TRAINING[stem, method]
    assert {key: getattr(training, key) for key in expected} == expected


@pytest.mark.parametrize("stem", ["imagenet_a_n10", "cub200_n10"])
@pytest.mark.parametrize("method", FAMILIES["inf_lora"])
def test_inf_lora_without_a_source_has_the_settings_of_imagenet_r(stem: str, method: str) -> None:
    ours, near = (load.load(f"{name}_inf_lora", method=method) for name in (stem, "imagenet_r_n10"))
    assert (ours.training, ours.method) == (near.training, near.method)
    assert "ours" in " ".join(load.header(f"{stem}_inf_lora").split("Settings:")[1].split()[:1])


@pytest.mark.parametrize(("stem", "method"), INF_OPTIONS)
def test_inf_lora_has_the_options_of_its_source(stem: str, method: str) -> None:
    recipe = load.load(f"{stem}_inf_lora", method=method)
    made: Any = build(method, recipe.method.hyperparameters)
    expected = {"tasks": TASKS[stem], "last_threshold": 1.0, "targets": ("key", "value"), **INF_OPTIONS[stem, method]}
    assert {key: getattr(made, key) for key in expected} == expected


def test_inf_lora_sees_images_as_its_source() -> None:
    seen = {stem: load.load(f"{stem}_inf_lora").data for stem in TASKS}
    trained = {stem: data.train_transform for stem, data in seen.items()}
    assert {stem for stem, preset in trained.items() if preset == "paper"} == {"imagenet_a_n10", "cub200_n10"}
    assert set(trained.values()) == {"paper", "inf_lora"}
    tested = {stem: data.test_transform for stem, data in seen.items()}
    assert {stem for stem, preset in tested.items() if preset == "inf_lora_squash"} == {"cifar100_n10"}
    assert {stem for stem, preset in tested.items() if preset == "paper"} == {"imagenet_a_n10", "cub200_n10"}
    assert {load.load(f"{stem}_inf_lora").backbone.name for stem in TASKS} == {"vit_base_patch16_224.augreg_in21k"}


@pytest.mark.parametrize("stem", TASKS)
def test_the_heads_are_aligned_with_ca_alone(stem: str) -> None:
    aligned = {
        method: load.load(f"{stem}_inf_lora", method=method).training.alignment for method in FAMILIES["inf_lora"]
    }
    settings = aligned.pop("inf_lora_ca")
    assert set(aligned.values()) == {None}
    assert settings is not None
    assert (settings.samples_per_class, settings.epochs, settings.batch_size) == (256, 5, 256)
    assert (settings.lr, settings.momentum, settings.weight_decay) == (0.01, 0.9, 5e-4)
    assert (settings.logit_norm, settings.temperature, settings.mean_scale_first) == ("per_task", 0.1, 0.9)


@pytest.mark.parametrize(
    ("stem", "epoch", "lr"),
    [
        *(("cifar100_n10", 0, 5e-4), ("cifar100_n10", 1, 5e-4), ("cifar100_n10", 19, 0.487e-4)),
        # cos(99 * 24 * pi / (200 * 49)) = cos(0.761676) = 0.723692; cos(99 * 48 * pi / (200 * 49)) = 0.047426
        *(("imagenet_r_n10", 0, 5e-4), ("imagenet_r_n10", 25, 3.6185e-4), ("imagenet_r_n10", 49, 2.3713e-5)),
    ],
)
def test_the_quarter_cosine_of_inf_lora(stem: str, epoch: int, lr: float) -> None:
    """Specification, section 4.4: two epochs at the full rate, and 0.487e-4 in the last of twenty."""
    training = load.load(f"{stem}_inf_lora").training
    assert training.lr * lr_factor(training, epoch) == pytest.approx(lr, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "images", "steps"),
    [  # images of a task; each epoch keeps its last, smaller batch
        ("cifar100_n10_sd_lora", 5_000, 800),  # 40 a pass, 20 passes
        ("cifar100_n10_inf_lora", 5_000, 800),
        ("imagenet_r_n10_sd_lora", 2_400, 380),  # 19 a pass, 20 passes
        ("imagenet_r_n10_inf_lora", 2_400, 950),  # 19 a pass, 50 passes
    ],
)
def test_steps_of_a_task(name: str, images: int, steps: int) -> None:
    training = load.load(name).training
    assert training.epochs * math.ceil(images / training.batch_size) == steps


def test_domainnet_of_sd_lora_learns_four_epochs_at_full_rate() -> None:
    training = load.load("domainnet_n5_sd_lora").training
    factors = [lr_factor(training, epoch) for epoch in range(training.epochs)]
    assert factors == pytest.approx([1.0] * 4 + [0.005] * 2 + [0.005**2] * 2 + [0.005**3] * 2)


@pytest.mark.parametrize(("name", "family", "stem"), PROTOCOLS)
def test_a_header_has_all_that_a_reader_asks_for(name: str, family: str, stem: str) -> None:
    header = load.header(name)
    labels = ("Source:", "Published:", "Settings:", "Data:", "Uncertain:", "Ours:", "Hardware:")
    places = [header.index(f"\n{label}") for label in labels]
    assert places == sorted(places)
    assert f"--methods {','.join(FAMILIES[family])}" in header
    assert f"lorastream data prepare {stem.rpartition('_')[0]} --root FOLDER" in " ".join(header.split())
    assert all(len(line) <= 120 for line in load.text(name).splitlines())
    assert set(FAMILIES[family]) <= set(names())
