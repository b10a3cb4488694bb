"""How every task is learnt: the `[training]` table of a recipe. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lorastream.errors import Fault, RecipeError

Positive = Annotated[int, Field(ge=1)]
# TOML and JSON know lists only; settings never change, hence tuples.
Milestones = Annotated[tuple[Positive, ...], Field(strict=False)]


class _Table(BaseModel):
    """Settings that belong together: frozen, no unknown keys, no text where a number belongs."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = self._faults()
        if faults:
            raise RecipeError.of(faults)
        return self

    def _faults(self) -> Sequence[Fault]:
        """Return what does not fit together."""
        return ()


class AlignmentSettings(_Table):
    """How the head is aligned after every task but the first; the formula is in `heads.alignment`."""

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
    covariance: Literal["full", "ledoit_wolf", "oas", "shared", "diagonal", "low_rank"] = Field(
        default="full",
        description="kept beside the means: of each class a full covariance, as it is or shrunk (ledoit_wolf, oas), "
        "its diagonal, or a low rank and the rest of the diagonal; or one covariance shared by all",
    )
    covariance_rank: Positive | None = Field(default=None, description="directions that low_rank keeps; None: 32")
    ridge: float = Field(default=1e-4, ge=0, description="added to every variance when drawing (InfLoRA+CA 1e-4)")
    drift: Literal["none", "shift", "class_shift", "linear"] = Field(
        default="none",
        description="how statistics of old classes follow features that moved, where that helps on new classes held "
        "out: weighted shift (SDC, SSIAT), shift of similar classes (CDS), shrunk linear map (SLDC)",
    )
    drift_sigma: float | None = Field(
        default=None, gt=0, description="reach of shift in feature units (SDC, SSIAT 1 to 4); None: tried from 1 to 64"
    )
    drift_spread: float = Field(
        default=0.0, ge=0, description="share of a moved mean's outer product added to its covariance (CDS)"
    )

    def _faults(self) -> Sequence[Fault]:
        return _alignment_faults(self)


class HeadSettings(_Table):
    """Which head learns, for any method whose head is linear; formulas in `heads.angles` and `heads.discriminant`."""

    kind: Literal["linear", "cosine", "discriminant"] = Field(
        description="products with the rows; cosines of the angles to them; or cosines while it learns, and answers by "
        "the discriminant of the classes' Gaussians, which needs training.alignment"
    )
    scale: float | None = Field(default=None, gt=0, description="what cosines are multiplied by; None: 20 (SSIAT 20)")
    margin: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="taken off the cosine of an image's own class in training; None: 0 (SSIAT 0, CDS 0.3)",
    )
    start: Literal["drawn", "class_means"] | None = Field(
        default=None,
        description="where new rows begin: drawn, or imprinted, at the mean direction of their class's features before "
        "the first step (Qi et al., CVPR 2018); None: drawn (SSIAT, CDS)",
    )

    def _faults(self) -> Sequence[Fault]:
        given = [key for key in ("scale", "margin", "start") if getattr(self, key) is not None]
        expected, got = 'scale, margin and start only with kind = "cosine" or "discriminant"', 'kind = "linear"'
        return [
            Fault(f"training.head.{key}", expected, got, f'write kind = "cosine", or leave {key} out')
            for key in given[:1]
            if self.kind == "linear"
        ]

    def options(self) -> dict[str, float]:
        """Return what the head is made with beside its width."""
        given = {"scale": self.scale, "cosine_margin": self.margin}
        return {key: value for key, value in given.items() if value is not None}


class PenaltySettings(_Table):
    """What is added to a method's loss from the second task on; the formulas are in `training.penalties`."""

    angle: float = Field(
        default=0.0, ge=0, description="weight of the change of angles to the means of old classes (CDS 10)"
    )
    distillation: float = Field(
        default=0.0, ge=0, description="weight of the squared change of features since the last task"
    )
    patches: float = Field(
        default=0.0,
        ge=0,
        description="weight of the change of patch tokens, each by its angle to the class token (MACIL, DGS 0.4)",
    )
    covariance: float = Field(
        default=0.0,
        ge=0,
        description="weight of the change of distances between images of a class, in units of its spread (MACIL 1)",
    )
    logits: float = Field(
        default=0.0, ge=0, description="weight of the divergence of the old classes' answers (E2-LoRA 0.25)"
    )
    temperature: float = Field(
        default=2.0, gt=0, description="what those answers' logits are divided by before the softmax (E2-LoRA 2)"
    )

    @property
    def are_asked(self) -> bool:
        """Whether any of them has a weight."""
        return any(self.model_dump(exclude={"temperature"}).values())


class RankSettings(_Table):
    """What chooses the ranks of a task's update once it is learnt; the formulas are in `training.ranks`."""

    policy: Literal["energy", "gated_l1"] = Field(
        description="the fewest ranks that hold a share of the update's energy; or those whose gate an L1 penalty "
        "has not shrunk to 0 (SoRA)"
    )
    share: float | None = Field(
        default=None, gt=0, le=1, description="share of the energy that is kept by energy; None: 0.99"
    )
    penalty: float | None = Field(
        default=None, gt=0, description="weight of the L1 penalty on the gates of gated_l1 (SoRA 10); None: 1"
    )

    def _faults(self) -> Sequence[Fault]:
        own, other = ("share", "penalty") if self.policy == "energy" else ("penalty", "share")
        if getattr(self, other) is None:
            return []
        expected, got = f'{own} with policy = "{self.policy}"', other
        return [Fault(f"training.ranks.{other}", expected, got, f"write {own}, or leave {other} out")]


class TrainingSettings(_Table):
    """How every task is learnt."""

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
    backbone_rate: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="what lr is multiplied by from the second task on, for all but the head (SLCA 0.01 to 0.1)",
    )
    average: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of the running mean over steps that a task ends with; None: its last step (MoAL 0.999)",
    )
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
    head: HeadSettings | None = Field(
        default=None, description="which head learns, for any method with a linear head; None: the method's"
    )
    penalties: PenaltySettings = Field(
        default=PenaltySettings(), description="what is added to the method's loss from the second task on"
    )
    ranks: RankSettings | None = Field(
        default=None, description="what chooses the ranks of a task's update, for methods that allow it; None: rank"
    )
    alignment: AlignmentSettings | None = Field(
        default=None, description="classifier alignment after every task, for any method with a linear head; None: none"
    )
    compile: bool = Field(
        default=False, description="train with torch.compile: a minute at the start, faster steps on a GPU"
    )
    deterministic: bool = Field(
        default=False, description="on a GPU too the same figures bit for bit, slower; a processor always gives them"
    )
    shard_backbone: bool = Field(
        default=False,
        description="of several processes each keeps a part of the frozen backbone, for one too large for a card",
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(default="fp32", description="of the forward pass (papers fp32)")
    checkpoint_every: int | None = Field(
        default=None,
        ge=0,
        description="steps between two resumable states within an epoch, 0: none there; None: as costs 1 % of the time",
    )
    skip_bad_batches: int = Field(
        default=0, ge=0, description="batches of a task left out where loss or gradient is not finite; waits every step"
    )

    def _faults(self) -> Sequence[Fault]:
        return _training_faults(self)


def _alignment_faults(alignment: AlignmentSettings) -> Sequence[Fault]:
    faults: list[Fault] = []
    where = "training.alignment"
    if alignment.covariance_rank is not None and alignment.covariance != "low_rank":
        expected, got = 'a rank only with covariance = "low_rank"', f'covariance = "{alignment.covariance}"'
        step = 'write covariance = "low_rank", or leave covariance_rank out'
        faults.append(Fault(f"{where}.covariance_rank", expected, got, step))
    if alignment.drift_sigma is not None and alignment.drift != "shift":
        expected, got = 'a sigma only with drift = "shift"', f'drift = "{alignment.drift}"'
        faults.append(Fault(f"{where}.drift_sigma", expected, got, 'write drift = "shift", or leave drift_sigma out'))
    if alignment.drift_spread and alignment.drift == "none":
        step = 'write drift = "class_shift", or leave drift_spread out'
        faults.append(Fault(f"{where}.drift_spread", "a spread only with a drift", 'drift = "none"', step))
    return faults


def _training_faults(training: TrainingSettings) -> Sequence[Fault]:
    faults: list[Fault] = []
    if training.head is not None and training.head.kind == "discriminant" and training.alignment is None:
        expected, got = "training.alignment, whose class statistics the discriminant is computed from", "no alignment"
        step = 'add training.alignment.covariance="shared", or choose training.head.kind="cosine"'
        faults.append(Fault("training.head.kind", expected, got, step))
    if training.penalties.angle and training.alignment is None:
        expected, got = "training.alignment, whose class means the angles are measured to", "no alignment"
        step = "add training.alignment.epochs=5, or leave training.penalties.angle out"
        faults.append(Fault("training.penalties.angle", expected, got, step))
    if training.penalties.patches and training.compile:
        expected, got = "passes that are not compiled, whose patch tokens can be looked at", "training.compile = true"
        step = "leave training.compile or training.penalties.patches out"
        faults.append(Fault("training.penalties.patches", expected, got, step))
    if training.average is not None and training.ranks is not None and training.ranks.policy == "gated_l1":
        expected, got = "gates of the last step, of which some are 0", "a running mean, in which none are"
        step = 'leave training.average out, or write training.ranks.policy = "energy"'
        faults.append(Fault("training.ranks.policy", expected, got, step))
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
