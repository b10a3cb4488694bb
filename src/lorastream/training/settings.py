"""How every task is learnt: the `[training]` table of a recipe. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lorastream.errors import Fault, RecipeError

Positive = Annotated[int, Field(ge=1)]
# TOML and JSON know lists only; settings never change, hence tuples.
Milestones = Annotated[tuple[Positive, ...], Field(strict=False)]


class AlignmentSettings(BaseModel):
    """How the head is aligned after every task but the first; the formula is in `heads.alignment`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    samples_per_class: Positive = Field(default=256, description="features drawn of each class in an epoch (SLCA 256)")
    epochs: int = Field(default=5, ge=0, description="epochs of drawn features (SLCA, InfLoRA+CA 5)")
    batch_size: Positive = Field(default=256, description="drawn features a step (SLCA, InfLoRA+CA 256)")
    lr: float = Field(
        default=0.01, gt=0, description="learning rate of the first epoch, then a cosine (InfLoRA+CA 0.01)"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of sgd")
    weight_decay: float = Field(default=5e-4, ge=0, description="L2 decay of weights and biases")
    logit_norm: Literal["per_task", "all", "none"] = Field(
        default="per_task",
        description="what logits are divided by: mean norm of each task's (SLCA, InfLoRA+CA), norm of all, nothing",
    )
    temperature: float = Field(default=0.1, gt=0, description="what normalised logits are divided by (SLCA 0.1)")
    mean_scale_first: float = Field(
        default=0.9, gt=0, le=1, description="how far means of old classes shrink, 1: not at all (SLCA, InfLoRA+CA 0.9)"
    )
    covariance: Literal["full", "shared"] = Field(
        default="full", description="kept beside the means: a full covariance of each class, or one shared by all"
    )
    ridge: float = Field(default=1e-4, ge=0, description="added to every variance when drawing (InfLoRA+CA 1e-4)")


class TrainingSettings(BaseModel):
    """How every task is learnt."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    epochs: int = Field(
        default=20, ge=0, description="passes over a task's images (SD-LoRA 20, ImageNet-R in the paper 30)"
    )
    batch_size: Positive = Field(default=128, description="images an optimiser step, over all processes (SD-LoRA 128)")
    evaluation_batch_size: Positive = Field(default=128, description="images at once when evaluating, each process")
    optimiser: Literal["sgd", "adam", "adamw"] = Field(
        default="sgd", description="SD-LoRA's code sgd (its paper says adam), InfLoRA adam"
    )
    lr: float = Field(default=0.008, gt=0, description="learning rate (SD-LoRA 0.008, InfLoRA 5e-4 with adam)")
    head_lr: float | None = Field(default=None, gt=0, description="learning rate of the head; None: as lr")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of sgd (SD-LoRA 0.9)")
    weight_decay: float = Field(default=0.0, ge=0, description="L2 decay; decoupled with adamw (SD-LoRA, InfLoRA 0)")
    schedule: Literal["constant", "cosine", "multistep", "quarter_cosine"] = Field(
        default="constant",
        description="learning rate over a task; quarter_cosine: InfLoRA's, lagging one epoch and ending near 0.1 lr",
    )
    milestones: Milestones = Field(
        default=(), description="epochs after which multistep multiplies the rate by decay_factor"
    )
    decay_factor: float = Field(default=0.1, gt=0, le=1, description="what multistep multiplies the rate by")
    warmup_epochs: float = Field(default=0.0, ge=0, description="epochs over which the rate rises from zero")
    accumulation: Positive = Field(default=1, description="micro-batches a batch is cut into to save memory")
    clip_norm: float | None = Field(default=None, gt=0, description="largest norm of the gradient; None: not clipped")
    lora_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="LoRA dropout: share of the live update's inputs and outputs left out at each step (0.1 to 0.5)",
    )
    alignment: AlignmentSettings | None = Field(
        default=None, description="classifier alignment after every task, for any method with a linear head; None: none"
    )
    compile: bool = Field(
        default=False, description="train with torch.compile: a minute at the start, faster steps on a GPU"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(default="fp32", description="of the forward pass (papers fp32)")

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = _faults(self)
        if faults:
            raise RecipeError.of(faults)
        return self


def _faults(training: TrainingSettings) -> Sequence[Fault]:
    faults: list[Fault] = []
    if training.milestones and training.schedule != "multistep":
        faults.append(
            Fault(
                "training.milestones",
                'milestones only with schedule = "multistep"',
                f'schedule = "{training.schedule}"',
                'write schedule = "multistep", or leave milestones out',
            )
        )
    if training.schedule == "multistep" and not training.milestones:
        faults.append(
            Fault(
                "training.milestones", "at least one epoch for multistep", "none", "for example milestones = [10, 15]"
            )
        )
    if list(training.milestones) != sorted(set(training.milestones)):
        faults.append(
            Fault(
                "training.milestones",
                "epochs in rising order",
                str(list(training.milestones)),
                f"milestones = {sorted(set(training.milestones))}",
            )
        )
    if training.accumulation > training.batch_size:
        faults.append(
            Fault(
                "training.accumulation",
                f"at most batch_size = {training.batch_size} micro-batches",
                str(training.accumulation),
                f"accumulation = {training.batch_size}, or a larger batch_size",
            )
        )
    return faults
