"""What a run was made of: recipe, hyper-parameters, data, backbone, device, versions; as names with values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from lorastream.reports.page.words import classes_of
from lorastream.reports.units import count, counted, number_word
from lorastream.runs import RunRecord

Facts = list[tuple[str, str]]


def facts(record: RunRecord) -> list[tuple[str, Facts]]:
    """Return the groups of facts, the most asked for first."""
    return [
        ("What, when and where", _about(record)),
        ("Tasks", [(f"task {k + 1}", classes_of(record, k)) for k in range(len(record.tasks))]),
        ("Recipe", _flat(record.recipe)),
        ("Hyper-parameters of the method", _flat(record.hyper_parameters)),
        ("Versions", [(name, version) for name, version in record.versions.items() if version]),
    ]


def _about(record: RunRecord) -> Facts:
    found = [("status", record.status), ("seed", str(record.seed)), ("method", record.method)]
    found += [("started", record.started or ""), ("ended", record.finished or "")]
    device, backbone, dataset = record.device, record.backbone, record.dataset
    parts = [device.name] if device.name else []
    parts.append(f"{device.kind}, {device.precision}")
    parts += [counted(device.threads, "thread")] if device.threads else []
    parts += [f"{number_word(device.processes)} processes"] if device.processes > 1 else []
    found.append(("device", "; ".join(parts)))
    if backbone:
        size = f", {backbone.image_size} px" if backbone.image_size else ""
        found.append(("backbone", f"{backbone.name}, {count(backbone.parameters)} parameters{size}"))
        found.append(("backbone's hash", backbone.sha256 or ""))
    if dataset:
        images = f"{sum(dataset.n_train):,} training and {sum(dataset.n_test):,} test images"
        found += [("data", f"{dataset.name}, {images}"), ("data's fingerprint", dataset.fingerprint or "")]
    return [(name, value) for name, value in found if value]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Facts:
    """Return nested settings by dotted keys, as overrides are written; what is not set is left out."""
    found: Facts = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _flat(cast("dict[str, Any]", value), f"{prefix}{key}.")
        elif value is not None:
            found.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return found
