"""Any transformer of timm, by its exact tag."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.load import BUNDLED
from lorastream.backbones.projections import find_projections
from lorastream.backbones.weights import check_fits, read_state_dict
from lorastream.data.transforms import InputSpec
from lorastream.errors import BackboneError, unknown_name


def load(name: str, *, weights: Path | None = None, image_size: int | None = None, pretrained: bool = True) -> Backbone:
    """Load a timm model without its classifier; see `backbones.load`.

    Raises:
        BackboneError: unknown or ambiguous name, weights that do not fit, or no projection that can take updates.
    """
    tag = exact_tag(name)
    resize = {} if image_size in (None, _own_size(tag)) else {"img_size": image_size}
    network = _create(tag, pretrained=pretrained and weights is None, **resize)
    if pretrained and weights is not None:
        _load_file(network, tag, weights)
    if image_size is not None and resize:
        _check_size(network, tag, image_size)
    projections = find_projections(network)
    if "query" not in projections:
        raise BackboneError(
            "backbone.name",
            expected="a transformer with query, key and value projections",
            got=f"{tag} ({type(network).__name__})",
            next_step="choose a vision transformer, for example vit_small_patch16_224.augreg_in21k",
        )
    return Backbone(
        network,
        spec=_input_spec(network, image_size),
        width=int(getattr(network, "num_features", 0)),
        projections=projections,
        name=tag,
        weights=None if weights is None else str(weights),
        pretrained=pretrained,
    )


def exact_tag(name: str) -> str:
    """Return the one tag that a name stands for: itself, or the only tag of an architecture.

    Under timm, a name without a tag has meant different weights in different releases, so one that has several tags is
    refused.

    Raises:
        BackboneError: unknown, or ambiguous: the candidates are listed.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise BackboneError.of(
            [unknown_name("backbone.name", kind="backbone", got=name, choices=[*BUNDLED, *timm.list_models()])]
        )
    tags = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tags:
        raise BackboneError.of([unknown_name("backbone.name", kind=f"tag of {architecture}", got=name, choices=tags)])
    if not tag and len(tags) > 1:
        raise BackboneError(
            "backbone.name",
            expected=f"an exact tag: {', '.join(tags)}",
            got=f"'{name}', which {len(tags)} checkpoints answer to",
            next_step="write the tag you mean; timm itself has given this name to different weights over time",
        )
    return tags[0] if tags and not tag else name


def _own_size(tag: str) -> int | None:
    config = timm.get_pretrained_cfg(tag)
    return None if config is None else config.input_size[-1]


def _create(tag: str, *, pretrained: bool, **options: Any) -> nn.Module:  # noqa: ANN401 (timm's own keywords)
    try:
        return timm.create_model(tag, pretrained=pretrained, num_classes=0, **options)
    except (RuntimeError, OSError, TypeError, ValueError, AssertionError) as error:
        raise BackboneError(
            f"backbone.name, {tag}",
            expected="a model that timm can build" + (" and whose weights it can fetch" if pretrained else ""),
            got=str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__,
            next_step="give a local file as backbone.weights, or connect to the network once so that timm can cache it"
            if pretrained
            else "check the image size for this architecture",
        ) from error


def _check_size(network: nn.Module, tag: str, size: int) -> None:
    """See one image of this size: many networks find out only then that they cannot."""
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError) as error:
        raise BackboneError(
            "backbone.image_size",
            expected=f"a size that {tag} can see",
            got=f"{size}: {str(error).strip()[:160]}",
            next_step="choose a multiple of the patch size, or leave it out",
        ) from error


def _load_file(network: nn.Module, tag: str, weights: Path) -> None:
    """Load a file through timm's own loader, which resamples position embeddings and drops the classifier."""
    state = read_state_dict(weights)
    filtered = _filter(network, tag, state)
    check_fits(network, filtered, where=f"backbone.weights, {weights}", ignore=_classifiers(network))
    network.load_state_dict(filtered, strict=False)


def _filter(network: nn.Module, tag: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    entry = timm.model_entrypoint(tag.partition(".")[0])
    module = __import__(entry.__module__, fromlist=["checkpoint_filter_fn"])
    filter_function = getattr(module, "checkpoint_filter_fn", None)
    if filter_function is None:
        return state
    try:
        return dict(filter_function(dict(state), network))
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError):
        return state  # of another architecture: `check_fits` says which tensors


def _classifiers(network: nn.Module) -> tuple[str, ...]:
    named = getattr(network, "pretrained_cfg", {}).get("classifier") or "head"
    return tuple(f"{n}." for n in ((named,) if isinstance(named, str) else named))


def _input_spec(network: nn.Module, image_size: int | None) -> InputSpec:
    config = resolve_model_data_config(network)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    return InputSpec(
        image_size=image_size or config["input_size"][-1],
        mean=config["mean"],
        std=config["std"],
        interpolation=interpolation,
        resize_ratio=1 / config["crop_pct"],
    )
