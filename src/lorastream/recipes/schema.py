"""What a recipe may say: every key with its meaning, unit, range, and the published value where a paper has one.

A recipe holds one experiment: the data, the stream made of it, the backbone, one method, the training, under
`methods` what differs when another method is run on the same experiment, and under `published` what others measured.
`Recipe.for_method` resolves that into a recipe of one method, which is what runs and what the record keeps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, model_validator

from lorastream.errors import Fault, RecipeError
from lorastream.methods import preset_training
from lorastream.recipes.published import Published
from lorastream.recipes.section import Section
from lorastream.training.settings import TrainingSettings

S = TypeVar("S")
STREAM_CUTS = ("tasks", "sizes", "classes")
"""The ways to cut a stream into tasks, of which a recipe names one."""

Positive = Annotated[int, Field(ge=1)]
# TOML and JSON know lists only; the values of a recipe never change, hence tuples.
Whole = Annotated[tuple[Positive, ...], Field(strict=False)]
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
Place = Annotated[str, Field(min_length=1), AfterValidator(lambda text: str(Path(os.path.expanduser(text))))]  # noqa: PTH111 (an unknown user is no error)


class _OpenSection(Section):
    """A table whose further keys belong to what it names, which checks them itself."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]  # pyright: ignore[reportIncompatibleVariableOverride] pydantic's own way

    @property
    def further(self) -> dict[str, JsonValue]:
        """The keys that are no fields of the section."""
        return dict(self.__pydantic_extra__)


class DataSection(_OpenSection):
    """`[data]`: where the images come from and how they are prepared; every further key is an option of the source."""

    source: str = Field(
        min_length=1,
        description="name of the source: digits, folder, benchmark:<name>, torchvision:<Dataset>, parquet, hf:<name>",
    )
    root: Place | None = Field(default=None, description="folder of the data; ~ is the home folder")
    train_transform: Literal["paper", "inf_lora", "gentle", "photo", "none"] = Field(
        default="photo",
        description="training preset; paper: random crop of 5 to 100 % of the area and flip (SD-LoRA, PILOT); "
        "inf_lora: 8 to 100 %; gentle: small shifts and turns, no flip; photo: mild crop and flip; none: as in testing",
    )
    test_transform: Literal["backbone", "paper", "squash", "inf_lora", "inf_lora_squash"] = Field(
        default="backbone",
        description="test preset; backbone: as the weights were made for; paper: 256 px bicubic, central 224 px; "
        "squash: both sides resized, nothing cut off; inf_lora and inf_lora_squash: as paper and squash, but bilinear",
    )
    normalisation: Literal["backbone", "zero_one"] = Field(
        default="backbone",
        description="backbone: its own mean and deviation; zero_one: pixels stay in [0, 1] (SD-LoRA and InfLoRA)",
    )
    max_side: Positive | None = Field(
        default=None,
        description="side to which larger training images are shrunk before they are cached, pixels; "
        "None: the transforms' own",
    )
    images_per_class: Positive | None = Field(
        default=None, description="training images used of each class, drawn by the seed; None: all"
    )
    test_images_per_class: Positive | None = Field(
        default=None, description="test images used of each class, drawn by the seed; None: all"
    )

    def source_options(self) -> dict[str, JsonValue]:
        """Return what the source is to be told: the root where one is given, and every further key."""
        return ({} if self.root is None else {"root": self.root}) | self.further


class StreamSection(Section):
    """`[stream]`: the classes in order of arrival; exactly one of tasks, sizes and classes."""

    tasks: Positive | None = Field(default=None, description="number of tasks of equal size")
    sizes: Whole | None = Field(default=None, min_length=1, description="number of classes of each task")
    classes: Annotated[tuple[Names, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None, description="class names of each task; what is not named is left out"
    )
    order: Literal["seed", "natural"] = Field(
        default="seed",
        description="class order for tasks and sizes; seed: the permutation the published codes draw from the seed; "
        "natural: the source's own order (InfLoRA)",
    )
    order_seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        description="seed of the class order; None: the seed of the run (SD-LoRA: 1993 to 1995)",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        return _without_faults(self, _stream_faults(self))


class BackboneSection(Section):
    """`[backbone]`: the frozen encoder."""

    name: str = Field(min_length=1, description="glyph_vit, or the exact name and tag of a timm model")
    weights: Place | None = Field(default=None, description="local file of weights, safetensors or a state dict")
    image_size: Positive | None = Field(default=None, description="side of the square input, pixels; None: the model's")
    pretrained: bool = Field(default=True, description="load pretrained weights; false: random ones, for tests only")


class MethodSection(_OpenSection):
    """`[method]`: the method's name; every further key is a hyper-parameter of the method."""

    name: str = Field(min_length=1, description="name of the method, see `lorastream list`")

    @property
    def hyperparameters(self) -> dict[str, JsonValue]:
        """The keys beside the name."""
        return self.further


class Recipe(Section):
    """One experiment; see the module."""

    name: str = Field(default="", description="name of the recipe; by default that of its file")
    seed: int = Field(default=0, ge=0, lt=2**32, description="one seed for class order, initialisation, batches, crops")
    data: DataSection
    stream: StreamSection
    backbone: BackboneSection
    method: MethodSection
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    methods: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict, description="what differs for each method; its key `training` changes that section"
    )
    published: dict[str, Published] = Field(
        default_factory=dict[str, Published], description="what others measured with each method on this protocol"
    )

    def method_names(self) -> list[str]:
        """Return the names of the methods that the recipe has settings for, its own last unless it is listed."""
        return list(self.methods) + [name for name in (self.method.name,) if name not in self.methods]

    def for_method(self, name: str) -> Recipe:
        """Return the recipe of one method alone.

        Raises:
            pydantic.ValidationError: what `methods` says of it does not fit; `load` reports it as a RecipeError.
        """
        return Recipe.model_validate(resolve(self.model_dump(mode="json", exclude_unset=True), name))

    def resolved(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values, as the record keeps it."""
        return self.model_dump(mode="json", exclude={key for key in ("methods", "published") if not getattr(self, key)})


def resolve(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a recipe's document for one method: `methods.<name>` laid over `method` and `training`.

    The hyper-parameters of `[method]` go along only where it is the method asked for. What a preset says of the
    training lies over `[training]`, as that was written for another method; where the recipe's own method is the
    preset, `[training]` was written for it and lies over the preset, so that resolving twice changes nothing.
    """
    own = _table(document.get("method"))
    extra = _table(_table(document.get("methods")).get(name))
    kept = {key: value for key, value in own.items() if key != "name"} if own.get("name") == name else {}
    changed = {key: value for key, value in extra.items() if key != "training"}
    shared, preset = _table(document.get("training")), preset_training(name)
    training = laid_over(preset, shared) if own.get("name") == name else laid_over(shared, preset)
    training = laid_over(training, _table(extra.get("training")))
    measured = {key: value for key, value in _table(document.get("published")).items() if key == name}
    rest = {key: value for key, value in document.items() if key not in {"method", "methods", "training", "published"}}
    resolved = {**rest, "method": {"name": name, **kept, **changed}, "training": training}
    return {**resolved, "published": measured} if measured else resolved


def laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return one table laid over another; where both hold a table, the inner ones are laid so as well."""
    inner = {key: laid_over(under[key], value) for key, value in over.items() if _both_tables(under.get(key), value)}
    return {**under, **over, **inner}


def _both_tables(one: object, other: object) -> bool:
    return isinstance(one, dict) and isinstance(other, dict)


def _table(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _without_faults(section: S, faults: Sequence[Fault]) -> S:
    if faults:
        raise RecipeError.of(faults)
    return section


def _stream_faults(stream: StreamSection) -> list[Fault]:
    faults: list[Fault] = []
    given = [key for key in STREAM_CUTS if getattr(stream, key) is not None]
    if len(given) != 1:
        faults.append(
            Fault(
                "stream",
                "exactly one of tasks, sizes and classes",
                " and ".join(given) or "none of them",
                "keep one of them" if given else "for example tasks = 5",
            )
        )
    names = [name for task in stream.classes or () for name in task]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        faults.append(
            Fault(
                "stream.classes", "every class in one task only", f"twice: {', '.join(twice)}", "name each class once"
            )
        )
    if stream.order_seed is not None and (stream.order == "natural" or stream.classes is not None):
        faults.append(
            Fault(
                "stream.order_seed",
                "no order_seed where the order is natural or the classes are named",
                str(stream.order_seed),
                'leave order_seed out, or write order = "seed" with tasks or sizes',
            )
        )
    return faults
