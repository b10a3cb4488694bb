"""What a method is: three hooks, the promises it makes, and the state it learns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import ConfigDict
from torch import Tensor, nn

from lorastream.data.task import Batch, Task
from lorastream.errors import CheckpointError
from lorastream.heads.kinds import HeadKind
from lorastream.model import IncrementalClassifier

SETTINGS = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
"""How every method's dataclass is validated: hyper-parameters by type and range, unknown ones refused."""

Projection = Literal["query", "key", "value", "attention_output", "mlp_in", "mlp_out"]


RankPolicy = Literal["energy", "gated_l1"]
"""What may choose how many ranks a task's update has; the formulas are in `training.ranks`."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a method promises; the law tests read these, never its name.

    Attributes:
        exemplar_free: it learns a task from that task's images alone.
        gradient_free: it needs no training steps.
        freezes_backbone: the backbone's own weights never change.
        keeps_past_parameters_fixed: what earlier tasks learnt (their factors, their head rows) never changes.
        starts_where_it_ended: `before_task` leaves the logits of the old classes as they were, bit for bit.
        merges_exactly: the merged model is the plain backbone and gives the same logits.
        inference_passes: forward passes of the backbone for one prediction.
        prompted: prompts enter the backbone, which has to be one that takes them, whole on every process.
        head: the head it needs; where it is `linear`, another whose rows learn may stand in (`training.head`).
        rank_policies: what may choose the ranks of a task's update once it is learnt (`training.ranks`); none where the
            same update learns on, or the ranks are the method's own.
    """

    exemplar_free: bool = True
    gradient_free: bool = False
    freezes_backbone: bool = True
    keeps_past_parameters_fixed: bool = True
    starts_where_it_ended: bool = True
    merges_exactly: bool = True
    inference_passes: int = 1
    prompted: bool = False
    head: HeadKind = "linear"
    rank_policies: tuple[RankPolicy, ...] = ()


@runtime_checkable
class Method(Protocol):
    """A way to learn tasks one after another.

    A method is a keyword-only dataclass: its fields are its hyper-parameters; what it learns is tensors, or tensors by
    name, in fields whose names end in `_`, so that saving is generic. It may also have the hooks of `training.hooks`.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def traits(self) -> Traits:
        """What this method, with these hyper-parameters, promises."""
        ...

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Prepare the model, whose head has grown already, for the task: say what learns and what is frozen."""
        ...

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the scalar to descend on, the mean over the batch."""
        ...

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Settle what was learnt; afterwards nothing of the adapters is live."""
        ...


def hyper_parameters(method: Method) -> dict[str, Any]:
    """Return a method's hyper-parameters by name."""
    return {f.name: getattr(method, f.name) for f in fields(method) if not f.name.endswith("_")}


def learnt_state(method: Method) -> dict[str, Tensor]:
    """Return a method's learnt tensors by field name, or `field/key` where a field holds several."""
    found: dict[str, Tensor] = {}
    for name in _learnt_fields(method):
        value = getattr(method, name)
        several = value.items() if isinstance(value, dict) else [("", value)]
        found |= {f"{name}/{key}" if key else name: tensor for key, tensor in several if isinstance(tensor, Tensor)}
    return {name: tensor.detach().clone() for name, tensor in found.items()}


def load_learnt_state(method: Method, state: dict[str, Tensor]) -> None:
    """Take what `learnt_state` gave.

    Raises:
        CheckpointError: the method has no such state.
    """
    known = _learnt_fields(method)
    for field in known:
        if isinstance(getattr(method, field), dict):
            setattr(method, field, {})
    for name, tensor in state.items():
        field, _, key = name.partition("/")
        if field not in known:
            raise CheckpointError(
                f"the stored state of {type(method).__name__}",
                expected=f"one of {', '.join(sorted(known)) or 'no state at all'}",
                got=name,
                next_step="load it with the method and the release that it was saved with",
            )
        if key:
            getattr(method, field)[key] = tensor
        else:
            setattr(method, field, tensor)


def learnt_parameters(method: Method) -> Iterable[nn.Parameter]:
    """Yield the learnt tensors of a method that take part in training."""
    for name in _learnt_fields(method):
        value = getattr(method, name)
        if isinstance(value, nn.Parameter) and value.requires_grad:
            yield value


def _learnt_fields(method: Method) -> list[str]:
    return [f.name for f in fields(method) if f.name.endswith("_")]
