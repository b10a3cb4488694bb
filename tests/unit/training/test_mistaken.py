"""The pictures that are kept are the first mistaken ones of the most confused pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from lorastream.data.stream import Stream
from lorastream.metrics.calibration import reliability
from lorastream.metrics.counts import confusion_matrix
from lorastream.training import mistaken
from lorastream.training.evaluate import Evaluation
from lorastream.training.mistaken import keep_mistaken

LABELS = np.arange(4).repeat(10)  # the stream's test images: ten of each class, two classes a task


def _evaluation(answers: list[int]) -> Evaluation:
    return Evaluation(
        confusion=confusion_matrix(LABELS, answers, n_classes=4),
        right_in_task=np.zeros(2, dtype=np.int64),
        classes=(range(2), range(2, 4)),
        reliability=reliability([], []),
        seconds=0.0,
        answers=np.array(answers),
    )


def test_by_hand(stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Class 3 is taken four times for 1, class 0 twice for 3, class 2 once for 0: two pairs are kept."""
    monkeypatch.setattr(mistaken, "PAIRS", 2)
    answers = [3, 0, 3, *[0] * 7] + [1] * 10 + [0, *[2] * 9] + [3, 1, 1, 3, 1, 1, *[3] * 4]
    kept = keep_mistaken(_evaluation(answers), stream, tmp_path)
    assert [(one.true, one.taken, one.file) for one in kept] == [
        *((3, 1, f"1-{index}.jpg") for index in (11, 12, 14)),
        *((0, 3, f"0-{index}.jpg") for index in (0, 2)),
    ]
    assert [one.image for one in kept] == [
        *(stream[1].test.names[i] for i in (11, 12, 14)),
        *stream[0].test.names[:3:2],
    ]
    assert {path.name for path in (tmp_path / "thumbnails").iterdir()} == {one.file for one in kept}
    with PIL.Image.open(tmp_path / "thumbnails" / "1-12.jpg") as picture:
        near = np.asarray(picture, dtype=float) - np.asarray(stream[1].test.picture(12), dtype=float)
    assert abs(near).mean() < 12


def test_a_process_without_the_folder_says_the_same_and_writes_nothing(stream: Stream, tmp_path: Path) -> None:
    evaluation = _evaluation([1, *[0] * 39])
    assert keep_mistaken(evaluation, stream, None) == keep_mistaken(evaluation, stream, tmp_path)
    assert len(keep_mistaken(evaluation, stream, None)) == 3 * 3 + 1


def test_without_a_mistake_nothing_is_kept(stream: Stream, tmp_path: Path) -> None:
    assert keep_mistaken(_evaluation(LABELS.tolist()), stream, tmp_path) == ()
    assert not (tmp_path / "thumbnails").exists()
