"""The kinds of prompts by name, taken from what was saved of them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lorastream.errors import of_stored_kind
from lorastream.prompts.by_task import TaskPrompts
from lorastream.prompts.components import PromptComponents
from lorastream.prompts.pool import PromptPool
from lorastream.prompts.prompts import Prompts
from lorastream.prompts.routed import RoutedPrompts

KINDS: Mapping[str, type[Prompts]] = {
    made.kind: made for made in (PromptPool, TaskPrompts, PromptComponents, RoutedPrompts)
}


def load_prompts(tensors: Mapping[str, Tensor]) -> Prompts:
    """Take what some prompts' `tensors` gave; their names say which kind it was.

    Raises:
        CheckpointError: prompts of a kind that is not known here.
    """
    kind = of_stored_kind(tensors, KINDS, what="the stored prompts")
    return kind.of_tensors({name.partition("/")[2]: tensor for name, tensor in tensors.items()})
