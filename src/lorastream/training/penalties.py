"""What may be added to any method's loss from the second task on, to hold features near what they were.

With f the features of the model that learns, g those that the model had when the task began, m_k the mean of the k-th
of K old classes (`model.statistics`), and means over the images x of a batch:

- `angle`, weight 10 in the source: mean_x 1/K sum_k (cos(f(x), m_k) - cos(g(x), m_k))²   (CDS, CVPR 2026)
- `distillation`: mean_x 1/d ‖f(x) - g(x)‖²

g needs a second forward pass, without gradients. It is the network as it was, with all updates merged; the tensors
that no method changes are shared with it, so it takes the memory of the adapted weights alone, for as long as the task
lasts. Where both weights are 0, nothing is made and nothing is computed.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorastream.errors import RecipeError
from lorastream.methods.protocol import Method
from lorastream.model import IncrementalClassifier
from lorastream.training.settings import PenaltySettings


class Penalties:
    """The penalties of one task.

    Args:
        previous: the network as it was when the task began: images to features.
        means: `[K, d]`, of the old classes; K may be 0 where no angle is asked for.
        settings: the weights.
    """

    def __init__(self, previous: nn.Module, means: Tensor, settings: PenaltySettings) -> None:
        self.previous, self.settings = previous, settings
        self.means = F.normalize(means, dim=1)

    def __call__(self, images: Tensor, features: Tensor) -> Tensor:
        """Return what is added to the loss, a scalar.

        Args:
            images: `[n, 3, s, s]`, normalised.
            features: `[n, d]`, what the model that learns makes of them.
        """
        with torch.no_grad():
            before = self.previous(images).float()
        after = features.float()
        found = after.new_zeros(())
        if self.settings.distillation:
            found = found + self.settings.distillation * F.mse_loss(after, before)
        if self.settings.angle:
            found = found + self.settings.angle * F.mse_loss(self._cosines(after), self._cosines(before))
        return found

    def _cosines(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return F.normalize(features, dim=1) @ self.means.mT


def penalties_of(model: IncrementalClassifier, method: Method, settings: PenaltySettings) -> Penalties | None:
    """Return the penalties of a task that begins, before the method has prepared the model; None where there are none.

    Args:
        model: that has grown already.
        method: whether the backbone's own weights change says what the network as it was may share with it.
        settings: the weights.

    Raises:
        RecipeError: the backbone's weights are shared out over several processes.
    """
    if len(model.task_sizes) < 2 or not (settings.angle or settings.distillation):  # noqa: PLR2004 (the first and one more)
        return None
    if model.backbone.sharded:
        raise RecipeError(
            "training.penalties",
            expected="a backbone that every process holds whole, to keep it as it was",
            got="one whose weights are shared out over the processes",
            next_step="leave training.penalties out, or do not share the weights out",
        )
    means = torch.empty(0, model.width) if model.statistics is None else model.statistics.means
    with model.merged():
        shared = {id(p): p for p in model.backbone.parameters()} if method.traits.freezes_backbone else {}
        previous = copy.deepcopy(model.backbone, memo=dict(shared))
    return Penalties(previous, means.to(model.device), settings)
