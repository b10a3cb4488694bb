"""What a method needs of backbone, head and settings: looked at before anything is made or learnt."""

from __future__ import annotations

import os
import shutil

import torch

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.patch_tokens import check_has_patches
from lorastream.data.task import Task
from lorastream.errors import MethodError, RecipeError
from lorastream.heads import TrainedHead
from lorastream.methods.protocol import Method
from lorastream.model import IncrementalClassifier
from lorastream.training.settings import TrainingSettings


def check_alignable(settings: TrainingSettings, method: Method, name: str) -> None:
    """See that the heads can be aligned where the settings say so.

    Raises:
        RecipeError: the method's head has no rows to train.
    """
    if settings.alignment is not None:
        _check_rows("training.alignment", "whose rows can be trained together", method, name)


def check_head(settings: TrainingSettings, method: Method, name: str) -> None:
    """See that a method's head can be of the kind that the settings say.

    Raises:
        RecipeError: its head has no rows that learn.
    """
    if settings.head is not None:
        _check_rows("training.head", "in whose place another may learn", method, name)


def check_answers(settings: TrainingSettings, method: Method, name: str) -> None:
    """See that the answers of old classes can be held where the settings say so.

    Raises:
        RecipeError: the method's head has no rows that learn, so there are no answers to hold while it learns.
    """
    if settings.penalties.logits:
        _check_rows("training.penalties.logits", "whose answers can be held while the features learn", method, name)


def check_ranks(settings: TrainingSettings, method: Method, name: str) -> None:
    """See that the ranks of a method's updates may be chosen as the settings say.

    Raises:
        RecipeError: they may not.
    """
    if settings.ranks is None or settings.ranks.policy in method.traits.rank_policies:
        return
    allowed = " or ".join(method.traits.rank_policies)
    raise RecipeError(
        "training.ranks.policy",
        expected=f"{allowed} for {name}" if allowed else "a method whose updates are finished with their task",
        got=settings.ranks.policy if allowed else f"{name}, whose ranks are its own or go on learning",
        next_step=f'write policy = "{method.traits.rank_policies[0]}"' if allowed else "leave training.ranks out",
    )


def _check_rows(setting: str, why: str, method: Method, name: str) -> None:
    """Refuse a setting for a method whose head has no rows that learn."""
    if method.traits.head != "linear":
        raise RecipeError(
            setting,
            expected=f"a method with a linear head, {why}",
            got=f"{name}, which has a {method.traits.head} head",
            next_step=f"leave {setting} out for this method",
        )


def check_head_kept(settings: TrainingSettings, model: IncrementalClassifier) -> None:
    """See that settings, such as those of one visit, say the head that the model has.

    Raises:
        RecipeError: they say another kind.
    """
    if settings.head is not None and settings.head.kind != model.head_kind:
        raise RecipeError(
            "training.head.kind",
            expected=f"the head that the model was begun with: {model.head_kind}",
            got=settings.head.kind,
            next_step="leave training.head out, or begin another model",
        )


def check_described(model: IncrementalClassifier, task: Task) -> None:
    """See that the heads can be aligned after a task: that all older classes have statistics to draw from.

    Raises:
        RecipeError: some have none, as they were learnt without alignment, or the head has no rows to train.
    """
    described = 0 if model.statistics is None else model.statistics.n_classes
    if isinstance(model.head, TrainedHead) and described >= task.first_class:
        return
    raise RecipeError(
        "training.alignment",
        expected=f"a linear head, and statistics of the {task.first_class} classes that came before",
        got=f"a {model.head_kind} head, and statistics of {described} classes",
        next_step="set training.alignment from the first task on, for a method with a linear head, or leave it out",
    )


def check_penalties(settings: TrainingSettings, method: Method, name: str, backbone: Backbone) -> None:
    """See that a backbone has what the settings hold, and is all that makes features.

    Raises:
        RecipeError: its patch tokens cannot be told, or prompts enter it.
    """
    if method.traits.prompted and settings.penalties.are_asked:
        raise RecipeError(
            "training.penalties",
            expected="a method whose features are of the backbone alone, of which a copy is kept for a task",
            got=f"{name}, whose features come of prompts as well",
            next_step="leave training.penalties out for this method",
        )
    if settings.penalties.patches:
        check_has_patches(backbone, "training.penalties.patches")


def check_compiler(device: torch.device) -> None:
    """See that torch can compile for a device: on a processor it needs a C++ compiler.

    Raises:
        RecipeError: there is none.
    """
    if device.type == "cpu" and not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++", "cl")):
        raise RecipeError(
            "training.compile",
            expected="a C++ compiler, which torch.compile needs on a processor",
            got="neither g++ nor clang++, and none in CXX",
            next_step="install one (apt install g++), or leave training.compile out",
        )


def check_fits(method: Method, backbone: Backbone) -> None:
    """See that the backbone has what the method adapts, is as wide as its rank, and takes prompts if it has any.

    Raises:
        MethodError: it has no such projection, or the rank is above its width, or prompts cannot enter it.
    """
    if method.traits.prompted:
        backbone.check_takes_prompts()
    targets, rank = getattr(method, "targets", ()), getattr(method, "rank", None) or 1
    if not targets:
        return
    largest, asked = backbone.largest_rank(targets), max(rank) if isinstance(rank, tuple) else rank
    if asked > largest:
        raise MethodError(
            "method.rank",
            expected=f"1 to {largest}, the width of the projections ({', '.join(targets)}) of {backbone.identity.name}",
            got=str(asked),
            next_step=f"choose a rank of at most {largest}",
        )
