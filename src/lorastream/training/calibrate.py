"""After a visit: the temperature that makes probabilities mean what they say, and the thresholds of what is unknown.

Of the new classes there are held-out images. Of older classes no image is kept, so the temperature and the threshold of
the energy stand on features drawn from their Gaussians, every class weighing the same. The Mahalanobis distance of a
drawn feature says nothing new (it follows from the Gaussian alone), so its threshold stands on held-out images only: of
this visit and, as one number an image that was kept, of the visits before.

The temperature minimises the negative log likelihood (Guo et al., ICML 2017, section 4.2), which is convex in its
inverse. The target of each image is smoothed by 1 / (n + 2) over n images (as Platt 1999 does for two classes): where
all are right the plain minimum lies at temperature 0 and certainty that nothing has shown.

The AUROC leaves each new class out in turn: its held-out images, scored against all other classes, are the unknown, and
those of the other new classes, scored in the same way, the known. The features were trained with the class left out in
sight, so a class that nobody has seen may be told less well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from lorastream.data.task import TaskImages
from lorastream.heads.calibration import Calibration, Score, Threshold
from lorastream.heads.strangeness import MahalanobisDistance, strangeness
from lorastream.methods.protocol import Method
from lorastream.metrics.calibration import auroc, expected_calibration_error, upper_quantile
from lorastream.model import IncrementalClassifier
from lorastream.training.device import preparing_threads
from lorastream.training.evaluate import inference
from lorastream.training.hooks import features_and_logits

KEPT = 0.95
"""The share of held-out images of known classes that a threshold keeps."""
_BATCH = 64
_DRAWN_A_CLASS, _DRAWN_IN_ALL = 64, 20_000
_MOST_DISTANCES = 20_000
_COLDEST, _HOTTEST = 1e-3, 1e3


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What the model made of images, or of features drawn: `features [n, d]`, `logits [n, classes]`, `labels [n]`."""

    features: Tensor
    logits: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def weights(self) -> Tensor:
        """Return `[n]`, such that every class weighs 1."""
        return 1 / torch.bincount(self.labels)[self.labels].double()


def calibrate(
    model: IncrementalClassifier,
    method: Method,
    held_out: TaskImages,
    *,
    accelerator: Accelerator,
    generator: torch.Generator,
) -> Calibration:
    """Fit temperature and thresholds to a model that has just learnt, and set `model.calibration`.

    Args:
        model: its statistics, where it has any, stand for the classes without held-out images.
        method: that it was taught with.
        held_out: images of the newest classes that it did not learn from; may be none.
        accelerator: device and precision; every process computes the same.
        generator: a CPU generator, for the features drawn.
    """
    before = model.calibration or Calibration()
    with inference(model):
        real = _real(model, method, held_out, accelerator)
        drawn = _drawn(model, set(real.labels.tolist()), generator, accelerator)
        everything = _joined([real, drawn])
    found = Calibration(images=len(real), distances=before.distances)
    if len(everything):
        found = _with_temperature(found, real, everything)
        energies = strangeness("energy", everything.logits)
        value = upper_quantile(energies.numpy(), KEPT, weights=everything.weights().numpy())
        found = found.with_threshold("energy", Threshold(value=value, auroc=_auroc("energy", real.logits, real.labels)))
    if model.statistics is not None and model.statistics.n_classes == model.n_classes:
        found = _with_distances(found, real, MahalanobisDistance(model.statistics, torch.device("cpu")))
    model.calibration = found
    return found


def _real(model: IncrementalClassifier, method: Method, held_out: TaskImages, accelerator: Accelerator) -> _Seen:
    found = [_nothing(model)]
    threads = preparing_threads(model.device)
    for batch in held_out.batches(_BATCH, device=model.device, workers=threads):
        with accelerator.autocast():
            features, logits = features_and_logits(method, model, batch.images)
        found.append(_Seen(features=features.cpu(), logits=logits.cpu(), labels=batch.labels.cpu()))
    return _joined(found)


def _drawn(model: IncrementalClassifier, seen: set[int], generator: torch.Generator, accelerator: Accelerator) -> _Seen:
    """Return features drawn of every class without held-out images, where there are statistics to draw from."""
    found = [_nothing(model)]
    if model.statistics is None:
        return found[0]
    n = max(1, min(_DRAWN_A_CLASS, _DRAWN_IN_ALL // max(1, model.statistics.n_classes)))
    for label in sorted({*range(model.statistics.n_classes)} - seen):
        features = model.statistics.sample(label, n, generator=generator).float()
        with accelerator.autocast():
            logits = model.head(features.to(model.device)).float().cpu()
        found.append(_Seen(features=features, logits=logits, labels=torch.full((n,), label)))
    return _joined(found)


def _joined(parts: Sequence[_Seen]) -> _Seen:
    """Return all, one after the other."""
    return _Seen(
        features=torch.cat([part.features for part in parts]),
        logits=torch.cat([part.logits for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
    )


def _nothing(model: IncrementalClassifier) -> _Seen:
    return _Seen(
        features=torch.empty(0, model.width),
        logits=torch.empty(0, model.n_classes),
        labels=torch.empty(0, dtype=torch.int64),
    )


def _with_temperature(found: Calibration, real: _Seen, everything: _Seen) -> Calibration:
    temperature = fit_temperature(everything.logits, everything.labels, weights=everything.weights())
    before, after = _error(real, 1.0), _error(real, temperature)
    return replace(found, temperature=temperature, error_before=before, error_after=after)


def fit_temperature(logits: Tensor, labels: Tensor, *, weights: Tensor) -> float:
    """Return the temperature, 0.001 to 1000, at which the logits' softmax is likeliest to give the labels.

    Args:
        logits: `[n, classes]`, n at least 1.
        labels: `[n]`.
        weights: `[n]`, of the images, above 0.
    """
    exact, shares = logits.double().clone(), (weights / weights.sum()).double().clone()
    labels = labels.clone()  # made in inference mode, such tensors could take part in no gradient
    smoothing = 1 / (len(labels) + 2)
    # The scale of the logits is a start from which few steps are needed, whatever the head.
    sharpness = (-exact.std(correction=0).clamp(min=1e-6).log()).clone().requires_grad_()
    optimiser = torch.optim.LBFGS([sharpness], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        each = F.cross_entropy(exact * sharpness.exp(), labels, reduction="none", label_smoothing=smoothing)
        value = (each * shares).sum()
        value.backward()
        return value

    optimiser.step(loss)  # pyright: ignore[reportArgumentType] (torch asks for a float, and means this)
    return min(max(float((-sharpness.detach()).exp()), _COLDEST), _HOTTEST)


def _error(real: _Seen, temperature: float) -> float | None:
    probabilities, answers = (real.logits / temperature).softmax(dim=1).max(dim=1)
    return expected_calibration_error(probabilities.numpy(), (answers == real.labels).numpy())


def _with_distances(found: Calibration, real: _Seen, distance: MahalanobisDistance) -> Calibration:
    distances = distance(real.features)
    nearest = torch.cat([found.distances, distances.amin(dim=1)])
    if not len(nearest):
        return found
    if len(nearest) > _MOST_DISTANCES:  # evenly spread over the sorted, so that no quantile moves
        nearest = nearest.sort().values[torch.linspace(0, len(nearest) - 1, _MOST_DISTANCES).long()]
    threshold = Threshold(
        value=upper_quantile(nearest.numpy(), KEPT), auroc=_auroc("mahalanobis", -distances, real.labels)
    )
    return replace(found, distances=nearest).with_threshold("mahalanobis", threshold)


def _auroc(score: Score, likeness: Tensor, labels: Tensor) -> float | None:
    """Return the mean over the classes of the AUROC with that class left out; None with fewer than two."""
    classes = labels.unique().tolist()
    if len(classes) < 2:  # noqa: PLR2004 (one left out, one known)
        return None
    found: list[float] = []
    for left_out in classes:
        others = likeness.clone()
        others[:, left_out] = -torch.inf
        scores = strangeness(score, others).numpy()
        unknown = (labels == left_out).numpy()
        found += [value for value in [auroc(scores[~unknown], scores[unknown])] if value is not None]
    return sum(found) / len(found)
