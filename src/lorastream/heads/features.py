"""Features of images by class, and what must hold of them before they are summed up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lorastream import processes
from lorastream.data.task import Batch
from lorastream.errors import DataError


def features_by_class(passes: Iterable[tuple[Batch, Tensor]], classes: range) -> list[Tensor]:
    """Sort the features of one pass by class.

    Args:
        passes: batches, each with its features `[n, d]`, such as `model.passes` gives. Of several processes each has
            its part, and all have the whole afterwards.
        classes: the labels that are expected.

    Returns:
        For each class `[its images, d]` on the CPU, in the order in which one process has them.

    Raises:
        DataError: a class has no images.
    """
    labels, features = _together([(batch, features.detach()) for batch, features in passes])
    found = [features[labels == label] for label in classes]
    empty = [label for label, own in zip(classes, found, strict=True) if not len(own)]
    if empty:
        raise DataError(
            f"class statistics, class {empty[0]}",
            expected="at least one training image of every class of the task",
            got="none",
            next_step="leave the class out of the stream, or give it images",
        )
    return found


def _together(pairs: Sequence[tuple[Batch, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the labels `[n]` and features `[n, d]` of all processes on the CPU, in the order of the images."""
    labels, features = torch.cat([batch.labels for batch, _ in pairs]), torch.cat([own for _, own in pairs])
    if processes.shard()[1] > 1:
        positions = torch.cat([batch.indices for batch, _ in pairs])
        # A process without images has none in the type of autocast either.
        exact = features.to(torch.promote_types(features.dtype, torch.float32))
        labels, features = (processes.gathered(rows, positions) for rows in (labels, exact))
    return labels.cpu(), features.cpu()


def finite(label: int, features: Tensor) -> Tensor:
    """Return the features of a class.

    Raises:
        DataError: one is NaN or infinite.
    """
    if not torch.isfinite(features).all():
        raise DataError(
            f"class statistics, class {label}",
            expected="finite features",
            got="NaN or infinity",
            next_step="look at the images of that class, or use training.precision=fp32",
        )
    return features
