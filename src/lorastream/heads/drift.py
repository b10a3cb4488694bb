"""Drift: how the features of old classes moved while a task was learnt, told from the task's own images.

No image of an old class is kept, but the images of the new classes can be looked at before and after. From how those
moved, three forms say how the mean m of an old class moves, with f a feature of a new image before the task, δ how far
it moved, and m_j, δ_j the mean before of new class j and how far that moved:

- `shift` (SDC, Yu et al., CVPR 2020; SSIAT, CVPR 2024): m + sum_i w_i δ_i,  w = softmax(-‖f_i - m‖² / 2σ²)
- `class_shift` (CDS, CVPR 2026): m + sum_j w_j δ_j,  w = softmax(10 cos(m, m_j))
- `linear` (SLDC, AAAI 2026): m + (1 - e^(-n/d)) B m,  B = argmin sum_i ‖B f_i - δ_i‖² + λ ‖B‖², of n images and width d

What may differ from the sources: the weights of `shift` are computed as a softmax, so they do not vanish together where
all images are far; B is ridged towards no movement, where SLDC ridges I + B, and shrunk as SLDC does with α = 1.

Every correction is tried first: the new classes are dealt into groups, the means of each group are foretold from the
others, and the error is held against that of no movement at all. What is open (σ, λ) is chosen so. A correction that
foretells no better than none is left out: unguarded linear maps have lost 8 points (related_methods, section 4.8).
With a single new class nothing can be held out, and nothing is corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.linalg.ridge import ridge_map

DriftKind = Literal["shift", "class_shift", "linear"]
SIGMAS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""λ in units of the mean eigenvalue of sum_i f_i f_i'."""
SHARPNESS = 10.0
_GROUPS = 5


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How features of old classes moved.

    Attributes:
        means: `[k, d]`, the corrected means, float64.
        transform: `[d, d]`, what features are multiplied by; None where means alone are moved.
    """

    means: Tensor
    transform: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What came of a correction.

    Attributes:
        moved: None where it was not accepted.
        setting: σ of `shift` or λ of `linear` that foretold best; None where none is open, or none could be tried.
        error: squared error of the foretold means over that of no movement; below 1 is accepted. None: not tried.
    """

    moved: Moved | None = None
    setting: float | None = None
    error: float | None = None

    def figures(self) -> dict[str, Any]:
        """Return it as plain values for the record."""
        return {"accepted": self.moved is not None, "setting": self.setting, "error": self.error}


def correct(
    kind: DriftKind, means: Tensor, before: Sequence[Tensor], after: Sequence[Tensor], *, sigma: float | None = None
) -> Correction:
    """Say how the means of old classes moved, where that can be foretold.

    Args:
        kind: the form.
        means: `[k, d]`, of the old classes before the task.
        before: for each new class the features `[n, d]` of its images before the task.
        after: the same images after it, in the same order.
        sigma: of `shift`; None: the one of `SIGMAS` that foretells best.
    """
    old = [own.double() for own in before]
    new = [own.double() for own in after]
    if len(old) < 2:  # noqa: PLR2004 (one to foretell, one to learn from)
        return Correction()
    open_settings = {"shift": SIGMAS if sigma is None else (sigma,), "class_shift": (0.0,), "linear": RIDGES}[kind]
    errors = {setting: _foretold(_FORMS[kind], setting, old, new) for setting in open_settings}
    best = min(errors, key=lambda setting: errors[setting])
    tried = Correction(setting=None if kind == "class_shift" else best, error=errors[best])
    if not errors[best] < 1:
        return tried
    return Correction(moved=_FORMS[kind](means.double(), old, new, best), setting=tried.setting, error=tried.error)


def _foretold(form: Form, setting: float, before: list[Tensor], after: list[Tensor]) -> float:
    """Return the squared error of the means of classes left out, over that of no movement."""
    error = still = 0.0
    for group in range(min(_GROUPS, len(before))):
        out = range(group, len(before), _GROUPS)
        kept = [label for label in range(len(before)) if label not in out]
        was, now = (torch.stack([own[label].mean(dim=0) for label in out]) for own in (before, after))
        foretold = form(was, [before[label] for label in kept], [after[label] for label in kept], setting).means
        error += float((foretold - now).square().sum())
        still += float((was - now).square().sum())
    return error / still if still else 1.0


def _shift(means: Tensor, before: Sequence[Tensor], after: Sequence[Tensor], sigma: float) -> Moved:
    features, moves = torch.cat(list(before)), torch.cat(list(after)) - torch.cat(list(before))
    weights = (-torch.cdist(means, features).square() / (2 * sigma**2)).softmax(dim=1)
    return Moved(means=means + weights @ moves)


def _class_shift(means: Tensor, before: Sequence[Tensor], after: Sequence[Tensor], _: float) -> Moved:
    was, now = (torch.stack([features.mean(dim=0) for features in own]) for own in (before, after))
    weights = (SHARPNESS * F.normalize(means, dim=1) @ F.normalize(was, dim=1).mT).softmax(dim=1)
    return Moved(means=means + weights @ (now - was))


def _linear(means: Tensor, before: Sequence[Tensor], after: Sequence[Tensor], ridge: float) -> Moved:
    features, moved = torch.cat(list(before)), torch.cat(list(after))
    n, width = features.shape
    change = ridge_map(features, moved - features, ridge=ridge * float(features.square().sum()) / width)
    transform = torch.eye(width, dtype=features.dtype) + (1 - torch.tensor(-n / width).exp().item()) * change
    return Moved(means=means @ transform.mT, transform=transform)


Form = Callable[[Tensor, Sequence[Tensor], Sequence[Tensor], float], Moved]
_FORMS: dict[DriftKind, Form] = {"shift": _shift, "class_shift": _class_shift, "linear": _linear}
