"""Begins runs with some processes, stops them, and goes on with other numbers of them; all forked from this process.

Started as a script by `test_processes.py`: `resumed_by_others.py FOLDER CASES.json`, a case being how many processes
begin, the signal that stops them, and how many go on. Every process has a working directory of its own,
`FOLDER/<case>/<rank>`, as on machines that share no disk: what lies in the first one's must be enough. Of each sitting
`FOLDER/<case>/<begun or ended>.txt` holds what the processes said.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from groups import forked
from lorastream.cli.main import main
from lorastream.recipes import build
from lorastream.reports.page.live import LivePage
from lorastream.training import descent
from tiny import backbone

ARGUMENTS = (
    *("run", "digits", "data.source=synthetic", "data.n_classes=4", "data.images_per_class=6", "data.size=16"),
    *("data.test_images_per_class=4", "stream.tasks=2", "training.epochs=3", "training.batch_size=5", "--resume"),
)
STOP_AT = 14
"""Steps that are begun before a sitting is stopped: in the second task, within its second epoch."""


def sitting(folder: Path, name: str, size: int, stopped_by: int | None = None) -> list[int]:
    """Run the command in so many processes; return their exit codes, negative for signals."""

    def work(before: Sequence[int]) -> None:
        _become(folder, name, len(before))
        if stopped_by is not None and len(before) == size - 1:
            _stop_all([*before, os.getpid()], stopped_by)
        main()

    return forked(size, work)


def _become(folder: Path, name: str, rank: int) -> None:
    own = folder / str(rank)
    own.mkdir(parents=True, exist_ok=True)
    os.chdir(own)
    said = os.open(folder / f"{name}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(said, stream)
    sys.argv = ["lorastream", *ARGUMENTS]


def _stop_all(processes: list[int], number: int) -> None:
    """Send all processes a signal at a step of this one, the last of them."""
    take, steps = descent.Descent._step, [0]

    def signalled(self: Any, *given: Any) -> None:
        steps[0] += 1
        if steps[0] == STOP_AT:
            for process in processes:
                os.kill(process, number)
        take(self, *given)

    descent.Descent._step = signalled


if __name__ == "__main__":
    build.backbone = lambda _recipe: backbone(width=16)  # type: ignore[assignment]
    LivePage.__call__ = lambda *_: None  # type: ignore[method-assign]
    root, codes = Path(sys.argv[1]), dict[str, Any]()
    codes["alone"] = {"ended": sitting(root / "alone", "ended", 1)}
    for case, (begin, how, go_on) in json.loads(Path(sys.argv[2]).read_text("utf-8")).items():
        number = signal.Signals[how]
        codes[case] = {"begun": sitting(root / case, "begun", begin, number)}
        codes[case]["ended"] = sitting(root / case, "ended", go_on)
    (root / "codes.json").write_text(json.dumps(codes), "utf-8")
