"""Names become objects: the one place where a recipe meets backbones, sources and streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.load import load as load_backbone_by_name
from lorastream.data import sources
from lorastream.data.images import Dataset
from lorastream.data.stream import Stream, StreamConfig
from lorastream.data.transforms import Transform, TransformConfig
from lorastream.errors import DataError, Fault, MethodError, RecipeError, unknown_name
from lorastream.methods import build as build_method
from lorastream.methods import preset_training
from lorastream.recipes.faults import Origin, faults_of
from lorastream.recipes.load import resolve_document
from lorastream.recipes.schema import DataSection, Recipe, laid_over
from lorastream.training.settings import TrainingSettings


def load(name_or_path: str | Path, overrides: Sequence[str] = (), method: str | None = None) -> Recipe:
    """Read a recipe as `recipes.load.load` does, and check also what only its parts know.

    Raises:
        RecipeError: all faults at once: of the file, of the overrides, and of the names and hyper-parameters.
    """
    document, faults = resolve_document(name_or_path, overrides, method)
    faults += _faults_of_parts(document)
    if faults:
        raise RecipeError.of(faults)
    return Recipe.model_validate(document)


def check(recipe: Recipe) -> None:
    """Check what only the parts of a recipe know: names of method and source, hyper-parameters.

    Raises:
        RecipeError: all such faults at once.
    """
    faults = _faults_of_parts(recipe.resolved())
    if faults:
        raise RecipeError.of(faults)


def _faults_of_parts(document: Mapping[str, Any]) -> list[Fault]:
    faults: list[Fault] = []
    method = document.get("method")
    if isinstance(method, dict) and isinstance(method.get("name"), str):
        try:
            build_method(method["name"], {key: value for key, value in method.items() if key != "name"})
        except MethodError as error:
            faults.extend(error.faults)
    return faults + _faults_of_source(document.get("data"))


def _faults_of_source(data: object) -> list[Fault]:
    named = cast("dict[str, Any]", data).get("source") if isinstance(data, dict) else None
    source = named.partition(":")[0] if isinstance(named, str) else None
    if not source or not isinstance(named, str):
        return []
    if source not in sources.names():
        return [unknown_name("data.source", kind="source", got=source, choices=sources.names())]
    try:
        section = DataSection.model_validate(data)
    except (ValidationError, RecipeError):
        return []  # its own faults are told by the schema
    try:
        sources.check(named, **section.source_options())
    except DataError as error:
        return list(error.faults)
    return []


def training_settings(given: Mapping[str, Any], *, where: str, method: str | None = None) -> TrainingSettings:
    """Return settings that were given as plain values, outside a recipe.

    Args:
        given: by name, as in the `[training]` table; they lie over those of a preset.
        method: the method they are for, if one is known.
        where: who was given them, for the message.

    Raises:
        RecipeError: all faults at once.
    """
    settings = laid_over(preset_training(method) if method else {}, given)
    try:
        return TypeAdapter(dict[str, TrainingSettings]).validate_python({"training": settings})["training"]
    except ValidationError as error:
        raise RecipeError.of(faults_of(error, Origin(file=where))) from error


def backbone(recipe: Recipe) -> Backbone:
    """Load the recipe's backbone."""
    section = recipe.backbone
    return load_backbone_by_name(
        section.name, weights=section.weights, image_size=section.image_size, pretrained=section.pretrained
    )


def transform_config(recipe: Recipe) -> TransformConfig:
    """Return how the recipe's images are prepared."""
    data = recipe.data
    chosen = {"max_side": data.max_side} if data.max_side is not None else {}
    return TransformConfig(
        train=data.train_transform, test=data.test_transform, normalisation=data.normalisation, **chosen
    )


def dataset(recipe: Recipe) -> Dataset:
    """Load the recipe's images."""
    return sources.load(recipe.data.source, **recipe.data.source_options())


def stream(
    recipe: Recipe,
    images: Dataset,
    transforms: tuple[Transform, Transform],
    *,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Stream:
    """Make the recipe's tasks."""
    section = recipe.stream
    return Stream.of(
        images,
        config=StreamConfig(tasks=section.tasks, sizes=section.sizes, classes=section.classes, order=section.order),
        seed=recipe.seed,
        class_order_seed=section.order_seed,
        transforms=transforms,
        cache=cache,
        progress=progress,
        images_per_class=recipe.data.images_per_class,
        test_images_per_class=recipe.data.test_images_per_class,
    )
