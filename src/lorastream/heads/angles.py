"""What heads have in common that learn on angles: no class can win by the length of its row.

Source: the cosine-normalised head of SSIAT (CVPR 2024), MACIL and TUNA; the margin is CosFace's (Wang et al., CVPR
2018, eq. 4). Formula, for a feature f, the row w_k of class k, scale s and margin m:

    z_k = s cos(f, w_k),    in training, of the image's own class:  s (cos(f, w_y) - m)

What may differ: the sources draw new rows from U(-1/√d, 1/√d), of length near 0.58; here as the linear head does, of
length near 1. The length of a row does not change an answer, but the longer it is the slower it turns.

Rows may begin where their classes are instead of anywhere, so that features need not move towards rows drawn blindly
(Qi, Brown, Lowe, "Low-Shot Learning with Imprinted Weights", CVPR 2018, arXiv 1712.07136; its average embedding): w_k
at the mean of f/‖f‖ over the class's images, at unit length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.heads.features import finite
from lorastream.heads.trained import TrainedHead

SCALE = 20.0
"""What cosines are multiplied by where nothing was said (SSIAT)."""
_NO_DIRECTION = 1e-6


class AngularHead(TrainedHead):
    """Rows that learn on angles.

    Args:
        width: d, the number of features.
        scale: s, above 0.
        cosine_margin: m, from 0 to below 1.

    Attributes:
        stored_as: what s and m are called where they are saved; it says which head it is.
        scale: s.
        cosine_margin: m.
    """

    stored_as: ClassVar[str]

    def __init__(self, width: int, *, scale: float = SCALE, cosine_margin: float = 0.0) -> None:
        super().__init__(width)
        self.scale = scale
        self.cosine_margin = cosine_margin

    @property
    def margin(self) -> float:
        """What a loss takes off the logit of an image's own class: s m."""
        return self.scale * self.cosine_margin

    def empty(self) -> Self:
        """Return a head of the same scale and margin without a class."""
        return type(self)(self.width, scale=self.scale, cosine_margin=self.cosine_margin)

    def cosines(self, features: Tensor, *, since: int = 0) -> Tensor:
        """Return s times the cosines of the angles between `features [n, d]` and the rows, `[n, classes seen]`.

        In float32 at least, also under autocast: rounded to bfloat16, two classes whose cosines differ by 0.004 would
        be the same. With `since`, of the tasks from that class on.
        """
        with torch.autocast(features.device.type, enabled=False):
            unit = F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=1)
            rows = [F.normalize(own.to(unit), dim=1) for own in self.since(since)]
            return self.scale * torch.cat([F.linear(unit, own) for own in rows], dim=1)

    def imprint(self, features: Sequence[Tensor]) -> None:
        """Let the rows of the newest classes begin at the directions of their features.

        Args:
            features: `[n, d]` of each class, for the last `len(features)` classes; a class whose features have no mean
                direction keeps the row that was drawn.

        Raises:
            DataError: a feature is not finite.
        """
        with torch.no_grad():
            for label, own in enumerate(features, start=self.n_classes - len(features)):
                mean = F.normalize(finite(label, own).double(), dim=1).mean(dim=0)
                if mean.norm() > _NO_DIRECTION:
                    task, row = self._place(label)
                    self.weights[task][row] = F.normalize(mean, dim=0)

    def tensors(self) -> dict[str, Tensor]:
        """Return what the head has learnt, and s and m as one tensor `[2]`; nothing before the first task."""
        if not self.n_classes:
            return {}
        options = torch.tensor([self.scale, self.cosine_margin], dtype=torch.float64)
        return {**super().tensors(), self.stored_as: options}

    def load_tensors(self, tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        super().load_tensors(tensors, sizes)
        self.scale, self.cosine_margin = tensors[self.stored_as].tolist()
