"""The model card that an exported model is published with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from lorastream.backbones.load import BUNDLED, HUGGING_FACE
from lorastream.export.exporter import Exported
from lorastream.export.preprocessing import preprocessing
from lorastream.learner import Learner
from lorastream.training.manifest import Step

LIBRARIES: Mapping[str, str] = {
    "timm": "timm",
    "hf": "transformers",
    "peft": "peft",
    "onnx": "onnx",
    "torch": "pytorch",
}
LICENCE_OF_BUNDLED = "apache-2.0"
_NOT_MEASURED = "–"  # noqa: RUF001 a dash that is no minus


def card(exported: Exported, learner: Learner, repository: str, steps: Sequence[Step] = ()) -> str:
    """Return the card, Markdown with the hub's YAML head.

    Args:
        exported: what is published.
        learner: where it comes from.
        repository: `owner/name` on the hub.
        steps: the model's past, with what was measured; empty where none was kept.
    """
    from jinja2 import Environment, StrictUndefined

    from lorastream import __version__

    identity = learner.model.backbone.identity
    licence = licence_of(identity.name)
    environment = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701 (Markdown)  # nosec B701
    environment.filters["cell"] = _cell
    template = environment.from_string(files("lorastream.export").joinpath("card.md.jinja").read_text("utf-8"))
    return template.render(
        title=repository.rpartition("/")[2],
        license=licence,
        licence_text=_licence_text(identity.name, licence),
        library=LIBRARIES[exported.target],
        base_model=_base_model(identity.name),
        backbone=_cell(identity.name),
        n_classes=len(learner.class_names),
        tasks=learner.model.classes,
        version=__version__,
        method=learner.method_name,
        lines=hub_lines(exported, repository),
        target=exported.target,
        difference=f"{exported.largest_difference:.1e}",
        compared=_cell(exported.compared),
        notes=exported.notes,
        steps=[_measured(step.manifest["step"]) for step in lineage(steps)],
        preprocessing=preprocessing(learner.transforms[1]),
    )


def hub_lines(exported: Exported, repository: str) -> list[str]:
    """Return the Python lines that load it from the hub."""
    if exported.target == "hf":
        return [line.replace("FOLDER", repository) for line in exported.loading]
    if exported.target == "timm":
        return [
            "import timm",
            "from PIL import Image",
            f'model = timm.create_model("hf-hub:{repository}", pretrained=True).eval()',
            "prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
            'logits = model(prepare(Image.open("picture.jpg").convert("RGB"))[None])',
        ]
    first, *rest = exported.loading
    fetch = [f"{first}; from huggingface_hub import snapshot_download", f'folder = snapshot_download("{repository}")']
    return [*fetch, *(re.sub(r'"FOLDER"', "folder", line).replace('"FOLDER/', 'folder + "/') for line in rest)]


def licence_of(backbone: str) -> str | None:
    """Return the licence of a backbone's weights as the hub writes it; None where it is not known here."""
    if backbone in BUNDLED:
        return LICENCE_OF_BUNDLED
    if backbone.startswith(HUGGING_FACE):
        return None
    import timm

    config = timm.get_pretrained_cfg(backbone) if timm.is_model(backbone.partition(".")[0]) else None
    return None if config is None else config.license


def lineage(steps: Sequence[Step]) -> list[Step]:
    """Return the steps that led to the current state and say how they came about, oldest first."""
    by_number = {step.number: step for step in steps}
    at = next((step for step in steps if step.is_current), None)
    found: list[Step] = []
    while at is not None and at not in found:
        found.insert(0, at)
        at = by_number.get(at.manifest.get("step", {}).get("after"))  # pyright: ignore[reportArgumentType]
    return [step for step in found if step.manifest.get("step", {}).get("kind") == "learn"]


def _measured(step: Mapping[str, Any]) -> dict[str, Any]:
    figures = {key: step.get(f"accuracy_{key}") for key in ("new", "old")}
    return {
        "number": step["number"],
        "date": str(step.get("date", _NOT_MEASURED))[:10],
        "learnt": ", ".join(step.get("classes", ())) or _NOT_MEASURED,
        "images": step.get("images", _NOT_MEASURED),
        **{key: _NOT_MEASURED if value is None else f"{100 * value:.1f}" for key, value in figures.items()},
    }


def _licence_text(backbone: str, licence: str | None) -> str:
    if licence is None:
        return f"The licence of the backbone `{_cell(backbone)}` is not known to lorastream: see where it comes from."
    return f"The backbone `{_cell(backbone)}` is under {licence}, and so is this model unless its images ask for more."


def _base_model(backbone: str) -> str | None:
    """Return the backbone's own page on the hub, if it has one there."""
    if backbone in BUNDLED:
        return None
    name = backbone.removeprefix(HUGGING_FACE) if backbone.startswith(HUGGING_FACE) else f"timm/{backbone}"
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else None


def _cell(text: str) -> str:
    """Return a text that stays in its cell of a Markdown table and is no markup of its own."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", " ".join(str(text).split()))
