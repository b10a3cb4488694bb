"""What a record keeps of the answers of its last evaluation: where they went wrong, and how far they can be believed.

A thousand classes stay some tens of kilobytes: pairs of classes are kept sparsely, the most frequent ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from lorastream.errors import UserError
from lorastream.metrics.calibration import Reliability
from lorastream.metrics.counts import between_groups, most_confused
from lorastream.runs.document import Count, Document, Fraction

MOST_PAIRS = 2000
"""As many pairs of classes are kept, the most often confused."""


class ConfusionRecord(Document):
    """Test images by what they are and what they were taken for; classes and tasks in order of arrival."""

    tasks: tuple[tuple[Count, ...], ...] = Field(description="images by task of their class (row) and of the answer")
    images: tuple[Count, ...] = Field(description="test images of each class")
    right: tuple[Count, ...] = Field(description="how many of them are right")
    pairs: tuple[tuple[Count, Count, Count], ...] = Field(
        description=f"true class, wrong answer, images: most images first, {MOST_PAIRS} at most"
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        is_square = all(len(row) == len(self.tasks) for row in self.tasks)
        n = len(self.images)
        is_known = all(true < n and taken < n for true, taken, _ in self.pairs)
        if (
            not is_square
            or not is_known
            or [r > i for r, i in zip(self.right, self.images, strict=False)] != [False] * n
        ):
            raise _torn("confusion", "as many rows as columns, and right answers and pairs of the classes counted")
        return self

    @classmethod
    def of(cls, confusion: NDArray[np.int64], tasks: Sequence[range]) -> Self:
        """Sum up the counts of classes.

        Args:
            confusion: `[classes, classes]` images by true class (row) and predicted class.
            tasks: the classes of each.
        """
        return cls(
            tasks=tuple(tuple(row) for row in between_groups(confusion, tasks).tolist()),
            images=tuple(confusion.sum(axis=1).tolist()),
            right=tuple(confusion.diagonal().tolist()),
            pairs=tuple(most_confused(confusion, limit=MOST_PAIRS)),
        )


class CalibrationRecord(Document):
    """Answers in bins of equal width of the probability claimed for them."""

    images: tuple[Count, ...] = Field(description="answers in each bin")
    confidence: tuple[Fraction | None, ...] = Field(description="their mean probability; None without answers")
    accuracy: tuple[Fraction | None, ...] = Field(description="the share of them that is right; None without answers")

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        has_answers = [n > 0 for n in self.images]
        if any([value is not None for value in told] != has_answers for told in (self.confidence, self.accuracy)):
            raise _torn("calibration", "a probability and an accuracy for each bin that has answers")
        return self

    @classmethod
    def of(cls, reliability: Reliability) -> Self:
        """Keep what was measured."""
        return cls(images=reliability.images, confidence=reliability.confidence, accuracy=reliability.accuracy)

    def reliability(self) -> Reliability:
        """Return what was measured."""
        return Reliability(images=self.images, confidence=self.confidence, accuracy=self.accuracy)


def _torn(what: str, expected: str) -> UserError:
    return UserError(
        f"record: {what}",
        expected=expected,
        got="counts that do not belong together",
        next_step="the record was edited by hand or is damaged: run it again",
    )
