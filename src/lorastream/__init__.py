"""lorastream: teach a pretrained transformer new classes as they arrive.

No stored images, no task label at test time, no slower with every task. See `Learner` to begin with.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorastream.adapters import Adapters, Target, attach
    from lorastream.experiment import run
    from lorastream.learner import Learner, Prediction
    from lorastream.runs.record import RunRecord

    __version__: str

__all__ = ["Adapters", "Learner", "Prediction", "RunRecord", "Target", "__version__", "attach", "run"]

_HOMES = {
    "Adapters": "lorastream.adapters",
    "Learner": "lorastream.learner",
    "Prediction": "lorastream.learner",
    "RunRecord": "lorastream.runs.record",
    "Target": "lorastream.adapters",
    "attach": "lorastream.adapters",
    "run": "lorastream.experiment",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any of the above); lazy, so that the command line starts at once
    if name == "__version__":
        from importlib.metadata import version

        return version("lorastream")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lorastream' has no attribute {name!r}")
