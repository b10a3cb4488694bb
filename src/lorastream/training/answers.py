"""From pictures to answers: classes with probabilities, and whether a picture shows anything that was taught."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor

from lorastream.data.pictures import Named, prepared
from lorastream.data.transforms import Transform
from lorastream.errors import DataError, unknown_name
from lorastream.heads.calibration import SCORES, Score
from lorastream.heads.strangeness import MahalanobisDistance, strangeness
from lorastream.methods.protocol import Method
from lorastream.model import IncrementalClassifier
from lorastream.training.hooks import features_and_logits

UNKNOWN = "unknown"
_WORKERS = 2


@dataclass(frozen=True)
class Prediction:
    """What a picture shows.

    Attributes:
        name: the most probable class; `unknown` where that was asked for and the picture is like none of them.
        probability: of the most probable class, 0 to 1: the softmax over all classes known, divided by the temperature
            that was fitted on held-out images after the last visit; without such a calibration it is as the head gives
            it, mostly too sure. That the picture shows one of the classes is taken for granted.
        top: the most probable classes with their probabilities, best first.
        is_unknown: whether its strangeness is above the threshold; False where that was not asked for.
        strangeness: the score that decides it; None where that was not asked for.
        picture: the path, or `picture 1` and so on.
    """

    name: str
    probability: float
    top: tuple[tuple[str, float], ...]
    is_unknown: bool = False
    strangeness: float | None = field(default=None, compare=False)
    picture: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model says of some pictures.

    Attributes:
        positions: of the pictures among those asked for.
        probabilities: `[n, classes]`, calibrated where the model is.
        strangeness: `[n]`, or None where it was not asked for.
        broken: why pictures of this group are missing.
    """

    positions: list[int]
    probabilities: Tensor
    strangeness: Tensor | None
    broken: list[DataError]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A model with what it takes to ask it.

    Attributes:
        model: knows at least one class.
        method: that taught it.
        transform: of test images.
        accelerator: device and precision.
        batch_size: pictures at once.
    """

    model: IncrementalClassifier
    method: Method
    transform: Transform
    accelerator: Accelerator
    batch_size: int = 128

    def answers(
        self, pictures: Sequence[Named], *, score: Score | None = None, skip_broken: bool = False
    ) -> Iterator[Answers]:
        """Yield answers in groups, in order; later pictures are decoded meanwhile, and none is kept.

        Args:
            pictures: as `data.pictures.listed` gives them.
            score: by which strangeness is told.
            skip_broken: leave out pictures that cannot be decoded, and say so.

        Raises:
            DataError: a picture is broken and not to be skipped.
        """
        model = self.model
        distance = None
        if score == "mahalanobis" and model.statistics is not None:
            distance = MahalanobisDistance(model.statistics, model.device)
        temperature = model.calibration.temperature if model.calibration else 1.0
        groups = prepared(pictures, self.transform, size=self.batch_size, workers=_WORKERS, skip_broken=skip_broken)
        with model.merged():
            for group in groups:
                features, logits = self._seen(group.images) if group.positions else self._nothing()
                likeness = logits if distance is None else -distance(features)
                yield Answers(
                    positions=group.positions,
                    probabilities=(logits / temperature).softmax(dim=1),
                    strangeness=None if score is None else strangeness(score, likeness),
                    broken=group.broken,
                )

    def predictions(
        self,
        pictures: Sequence[Named],
        *,
        top: int = 3,
        unknown: bool | Score = False,
        skipped: Callable[[DataError], None] | None = None,
    ) -> Iterator[Prediction]:
        """Yield what pictures show, in order, as they are decoded; none is kept.

        Args:
            pictures: as `data.pictures.listed` gives them.
            top: how many classes to name, at least 1.
            unknown: whether to say `unknown`, or by which score to tell.
            skipped: told of pictures found in folders that cannot be decoded and are left out; None refuses them.

        Raises:
            DataError: a picture is broken, nothing was learnt yet, or the model was never calibrated to say `unknown`.
        """
        names = self.model.class_names
        score, threshold = self._threshold(unknown)
        self._check(top)
        for group in self.answers(pictures, score=score, skip_broken=skipped is not None):
            if skipped is not None:
                for error in group.broken:
                    skipped(error)
            values, classes = group.probabilities.topk(min(top, len(names)), dim=1)
            strange = [None] * len(values) if group.strangeness is None else group.strangeness.tolist()
            for position, row, columns, own in zip(
                group.positions, values.tolist(), classes.tolist(), strange, strict=True
            ):
                best = tuple((names[c], v) for v, c in zip(row, columns, strict=True))
                beyond = own is not None and own > threshold
                yield Prediction(
                    UNKNOWN if beyond else best[0][0], best[0][1], best, beyond, own, pictures[position].name
                )

    def _seen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = self.transform.normalise(images.to(self.model.device))
        with torch.inference_mode(), self.accelerator.autocast():
            return features_and_logits(self.method, self.model, pixels)

    def _nothing(self) -> tuple[Tensor, Tensor]:
        device = self.model.device
        return torch.empty(0, self.model.width, device=device), torch.empty(0, self.model.n_classes, device=device)

    def _check(self, top: int) -> None:
        if not self.model.class_names:
            raise DataError(
                "predict", expected="a learner that knows classes", got="none yet", next_step="learn a task"
            )
        if top < 1:
            raise DataError("predict, top", expected="at least 1", got=str(top), next_step="leave it out for 3")

    def _threshold(self, unknown: bool | str) -> tuple[Score | None, float]:
        """Return the score to tell unknown pictures by, and above which value they are."""
        if unknown is False:
            return None, 0.0
        calibration = self.model.calibration
        known = calibration.thresholds if calibration else {}
        score = calibration.default_score if calibration and unknown is True else unknown
        for each in SCORES:
            if each == score and each in known:
                return each, known[each].value
        if isinstance(unknown, str) and unknown not in SCORES:
            raise DataError.of([unknown_name("predict, unknown", kind="score", got=unknown, choices=SCORES)])
        raise DataError(
            "predict, unknown",
            expected=f"a model that was calibrated to tell by {score or ' or '.join(SCORES)}",
            got="one that was not: it was made by `run`, by an older release, or no image was held out",
            next_step="leave it out, or teach a folder: lorastream learn FOLDER --into MODEL",
        )


def told(asked: Asked, pictures: Sequence[Named], *, top: int, unknown: bool | Score) -> list[Prediction]:
    """Return what pictures show; of those found in folders, what cannot be decoded is left out with one warning."""
    broken: list[DataError] = []
    found = list(asked.predictions(pictures, top=top, unknown=unknown, skipped=broken.append))
    if broken:
        left_out = f"{len(broken)} of {len(pictures)} pictures could not be decoded and are left out; the first:"
        warnings.warn(f"{left_out} {broken[0]}", stacklevel=3)
    return found
