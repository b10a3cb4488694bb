"""What may be added to any method's loss from the second task on, to hold features near what they were.

With f the features of the model that learns, g those that the model had when the task began, m_k the mean of the k-th
of K old classes (`model.statistics`), and means over the images x of a batch:

- `angle`, weight 10 in the source: mean_x 1/K sum_k (cos(f(x), m_k) - cos(g(x), m_k))²   (CDS, CVPR 2026)
- `distillation`: mean_x 1/d ‖f(x) - g(x)‖²
- `patches`, weight 0.4 in the sources: mean over x and patches of (φ / π) ‖p(x) - q(x)‖, with p and q what the two
  networks make of a patch, at unit length, and φ the angle of p to the class token   (MACIL, ICML 2025; DGS, CVPR 2026)
- `covariance`, weight 1 in the source: 1/n sum over pairs of images of one class of |δ(f, f̃) - δ(g, g̃)|, δ the
  Mahalanobis distance at unit length under the class's covariance of g: see `training.pairs`   (MACIL)
- `logits`, weight 0.25 and temperature T = 2 in the source: T² mean_x KL(softmax(b(x)/T) ‖ softmax(a(x)/T)), with a the
  logits of the old classes that the learning head gives to f, and b those that the head as it was gives to g
  (E2-LoRA, ICML 2026; Hinton et al., arXiv 1503.02531)

g needs a second forward pass, without gradients. It is the network as it was, with all updates merged; the tensors
that no method changes are shared with it, so it takes the memory of the adapted weights alone, for as long as the task
lasts. Where all weights are 0, nothing is made and nothing is computed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorastream.backbones.patch_tokens import PatchTokens
from lorastream.data.task import Batch, Task
from lorastream.errors import RecipeError
from lorastream.heads.kinds import Head
from lorastream.linalg.feature_changes import patch_change
from lorastream.methods.protocol import Method
from lorastream.model import IncrementalClassifier
from lorastream.training.pairs import Pairs
from lorastream.training.settings import PenaltySettings

Answer = Callable[[Tensor], Tensor]
"""From features `[n, d]` to the logits of the old classes `[n, K]`."""


class Penalties:
    """The penalties of one task, within whose context it is learnt.

    Args:
        previous: the network as it was when the task began: images to features.
        means: `[K, d]`, of the old classes; K may be 0 where no angle is asked for.
        settings: the weights.
        tokens: of the network that learns and of the one before; none but for `patches`.
        pairs: only for `covariance`.
        answers: from features to the logits of the old classes, `[n, K]`: as it was, and as it learns; None where no
            logits are held.
    """

    def __init__(
        self,
        previous: nn.Module,
        means: Tensor,
        settings: PenaltySettings,
        *,
        tokens: Sequence[PatchTokens] = (),
        pairs: Pairs | None = None,
        answers: tuple[Answer, Answer] | None = None,
    ) -> None:
        self.previous, self.settings, self.answers = previous, settings, answers
        self.means = F.normalize(means, dim=1)
        self.tokens, self.pairs = tokens, pairs
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for tokens in self.tokens:
            self._open.enter_context(tokens)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self._open.close()

    def look_at(self, model: IncrementalClassifier, parts: Sequence[Batch]) -> None:
        """See the batch that a step is about to learn from, in its micro-batches; called by every process."""
        if self.pairs is not None:
            self.pairs.look_at(parts, after=model.features, before=self.previous, width=model.width)

    def __call__(self, part: Batch, features: Tensor) -> Tensor:
        """Return what is added to the loss of a micro-batch, a scalar.

        Args:
            part: normalised.
            features: `[n, d]`, what the model that learns makes of its images.
        """
        with torch.no_grad():
            before = self.previous(part.images).float()
        after = features.float()
        found = after.new_zeros(())
        with torch.autocast(after.device.type, enabled=False):
            if self.settings.distillation:
                found = found + self.settings.distillation * F.mse_loss(after, before)
            if self.settings.angle:
                found = found + self.settings.angle * F.mse_loss(self._cosines(after), self._cosines(before))
            if self.tokens:
                (class_token, now), (_, was) = (own.latest() for own in self.tokens)
                found = found + self.settings.patches * patch_change(now.float(), was.float(), class_token.float())
            if self.pairs is not None:
                found = found + self.settings.covariance * self.pairs.change(part, after, before)
            if self.answers is not None:
                answered, answers = (answer(f) for answer, f in zip(self.answers, (before, after), strict=True))
                found = found + self.settings.logits * _divergence(answered, answers, self.settings.temperature)
        return found

    def _cosines(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=1) @ self.means.mT


def penalties_of(
    model: IncrementalClassifier,
    method: Method,
    task: Task,
    settings: PenaltySettings,
    features: Sequence[Tensor] = (),
) -> Penalties | None:
    """Return the penalties of a task that begins, before the method has prepared the model; None where there are none.

    Args:
        model: that has grown already.
        method: whether the backbone's own weights change says what the network as it was may share with it.
        task: that begins.
        settings: the weights.
        features: of the task's images by class, as they are now; only for `covariance`.

    Raises:
        RecipeError: the backbone's weights are shared out over several processes, or prompts enter it, or it has no
            patch tokens.
    """
    if len(model.task_sizes) < 2 or not settings.are_asked:  # noqa: PLR2004 (the first and one more)
        return None
    if model.backbone.sharded or model.prompts is not None:
        raise RecipeError(
            "training.penalties",
            expected="a backbone that every process holds whole and no prompt enters, to keep it as it was",
            got="one whose weights are shared out over the processes" if model.backbone.sharded else "one with prompts",
            next_step="leave training.penalties out, or do not share the weights out",
        )
    means = torch.empty(0, model.width) if model.statistics is None else model.statistics.means
    with model.merged():
        shared = {id(p): p for p in model.backbone.parameters()} if method.traits.freezes_backbone else {}
        previous = copy.deepcopy(model.backbone, memo=dict(shared))
    where = "training.penalties.patches"
    tokens = [PatchTokens(one, where=where) for one in (model.backbone, previous)] if settings.patches else []
    return Penalties(
        previous,
        means.to(model.device),
        settings,
        tokens=tokens,
        pairs=Pairs(features, task.first_class, model.device) if settings.covariance else None,
        answers=_answers(model) if settings.logits else None,
    )


def _answers(model: IncrementalClassifier) -> tuple[Answer, Answer]:
    """Return the answers of the head as it is now, and of the one that is going to learn."""
    known = model.n_classes - model.task_sizes[-1]
    kept = copy.deepcopy(model.head).requires_grad_(requires_grad=False)
    return partial(_of_old_classes, kept, known), partial(_of_old_classes, model.head, known)


def _of_old_classes(head: Head, known: int, features: Tensor) -> Tensor:
    # Not `head(...)`: others listen for what the head is called with, and this is no answer of theirs.
    return head.forward(features, learning=True)[:, :known].float()


def _divergence(before: Tensor, after: Tensor, temperature: float) -> Tensor:
    """Return T² times the mean divergence of softened answers `after [n, K]` from those `before`."""
    now, then = (F.log_softmax(logits / temperature, dim=1) for logits in (after, before))
    return temperature**2 * F.kl_div(now, then, reduction="batchmean", log_target=True)
