"""Every method, and every option that changes what a method promises, goes through the same laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from lorastream import methods
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.learner import Learner

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "sd_lora": [
        {"carry_magnitudes": True},
        {"carry_magnitudes": True, "magnitude_scope": "per_projection", "norm": "exact"},
        {"normalise_current": True, "norm": "exact", "magnitude_init": 1.0},
        {"rank": (3, 1, 2), "absorb": "joint"},
        {"absorb": "joint", "absorb_threshold": 100.0, "absorb_scale": "preserving", "carry_magnitudes": True},
        {"absorb": "per_projection", "absorb_residual": "fro2", "absorb_threshold": 0.99},
    ],
    "ran_pac": [{"first_task_lora": True, "rank": 2}, {"solver": "truncated_svd", "max_rank": 20}],
    "sequential_lora": [{"softmax": "current_classes"}],
    "finetune": [{"softmax": "current_classes"}],
    "joint": [{"restart": False}],
    "inf_lora": [
        {"threshold": 0.97, "tasks": 3, "energy": "eigenvalues"},
        {"memory": "plain", "blocks": 1, "row_scale": 1.0, "augmented_statistics": False, "first_task": "reached"},
    ],
    "energy_lora": [{"rank": 4, "energy": 0.9, "centred": False, "targets": ("query", "value")}],
    "l2p": [{"answer_from": "class_token", "queries": "augmented", "pool": 3, "top_k": 1}],
    "dual_prompt": [{"shared_blocks": 0, "go_on": False, "queries": "augmented"}],
    "prompt_routing": [{"covariance": "full", "share": 0.3, "go_on": False, "router_epochs": 2}],
    "coda_prompt": [{"orthogonality": 0.1, "components": 3, "queries": "augmented"}],
    "lora_sum": [
        {"penalty": "orthogonal", "overlap": "squared"},
        {"penalty": "fisher", "weight": 10.0, "decay": 0.5, "fisher_labels": "model"},
    ],
}
SMALLER: dict[str, dict[str, Any]] = {
    **{key: {"random_features": 60} for key in ("ran_pac", "ran_pac_lora", "loranpac")},
    **{key: {"router_epochs": 2} for key in ("prompt_routing", "hide_prompt")},
}
"""Options that cost time and change no promise."""
CASES = [
    (name, {**SMALLER.get(name, {}), **options})
    for name in methods.names()
    for options in [{}, *VARIANTS.get(name, [])]
]


@dataclass
class Case:
    """One method with its options, and how to teach it."""

    name: str
    options: dict[str, Any]
    backbone: Callable[[], Backbone]
    streams: Callable[..., Stream]
    training: dict[str, Any] = field(
        default_factory=lambda: {
            "epochs": 2,
            "batch_size": 8,
            "lr": 0.05,
            "alignment": None,
            "head": None,
            "penalties": {"angle": 0.0},
        }
    )

    def learner(self, *, seed: int = 0, **training: Any) -> Learner:
        """Make a learner that knows nothing yet."""
        return Learner(self.backbone(), self.name, training={**self.training, **training}, seed=seed, **self.options)

    def teach(self, learner: Learner, stream: Stream, tasks: int | None = None) -> Learner:
        """Teach the first tasks of a stream, all by default."""
        for index in range(len(stream) if tasks is None else tasks):
            learner.learn(self.material(learner, stream, index))
        return learner

    def material(self, learner: Learner, stream: Stream, index: int) -> Any:
        """Return what the learner needs for a task: its images, or those of all tasks so far."""
        return stream[index] if learner.method.traits.exemplar_free else stream.joined(index)


@pytest.fixture(params=CASES, ids=[f"{n}{''.join(f'-{k}={v}' for k, v in o.items())}" for n, o in CASES])
def case(
    request: pytest.FixtureRequest,
    tiny_backbone: Callable[[], Backbone],
    synthetic_stream: Callable[..., Stream],
) -> Case:
    """One case after another."""
    name, options = request.param
    return Case(name, options, tiny_backbone, synthetic_stream)


@pytest.fixture
def pictures(synthetic_stream: Callable[..., Stream]) -> Tensor:
    """Normalised images that no task trained on."""
    return next(iter(synthetic_stream(tasks=1, classes_per_task=4, seed=5)[0].test.batches(40))).images


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """Where a model may be saved."""
    return tmp_path / "model"
