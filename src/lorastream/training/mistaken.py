"""Which test images the most confused pairs of classes are made of, with a small picture of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lorastream.data.stream import Stream
from lorastream.metrics.counts import most_confused
from lorastream.runs import thumbnails
from lorastream.runs.thumbnails import Thumbnail
from lorastream.training.evaluate import Evaluation

PAIRS, EACH = 6, 3
"""Of so many pairs of classes so many images are kept, the first ones in the order of the source."""


def keep_mistaken(evaluation: Evaluation, stream: Stream, folder: Path | None) -> tuple[Thumbnail, ...]:
    """Write small pictures of test images that were mistaken, and return what the record is to say of them.

    Args:
        evaluation: with its answers.
        stream: whose first tasks it was made on.
        folder: of the run; None writes nothing: for all processes but the first.

    Raises:
        RunError: a picture could not be written.
    """
    kept: list[Thumbnail] = []
    answers = np.split(np.asarray(evaluation.answers), np.cumsum(evaluation.n_test))
    for true, taken, _ in most_confused(evaluation.confusion, limit=PAIRS):
        place = next(i for i, classes in enumerate(evaluation.classes) if true in classes)
        test = stream[place].test
        found = np.flatnonzero((test.labels == true) & (answers[place] == taken))
        for index in map(int, found[:EACH]):
            # Named by the image alone: a record written earlier never finds another picture under the name.
            one = Thumbnail(true=true, taken=taken, image=test.names[index], file=f"{place}-{index}.jpg")
            if folder is not None:
                thumbnails.write(folder, one, test.picture(index))
            kept.append(one)
    return tuple(kept)
