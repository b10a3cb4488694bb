"""The thing that is taught, saved, merged and served: backbone + adapters + head."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from lorastream import processes
from lorastream.adapters import Adapters, Target, attach
from lorastream.backbones.backbone import Backbone
from lorastream.data.task import Batch, TaskImages
from lorastream.errors import AdapterError, DataError
from lorastream.heads import Calibration, ClassStatistics, load_statistics
from lorastream.heads.kinds import HEADS, Head, HeadKind
from lorastream.heads.places import place
from lorastream.randomness import Randomness


class IncrementalClassifier(nn.Module):
    """A frozen backbone, the low-rank updates on its projections, and a head that grows.

    Args:
        backbone: the encoder.
        head: which head, a key of `heads.kinds.HEADS`.
        head_options: what it is made with beside its width, such as `scale` of a cosine head.
        randomness: the source of the initial numbers of new parameters.

    Attributes:
        class_names: all classes seen, in order of arrival; a label is a position in it.
        task_sizes: how many of them each task brought.
        adapted: the kinds of projections that take updates, e.g. `("query", "value")`; empty until `adapt`.
        first_blocks: how many blocks take them, counted from the input; None: all.
        pretrained_beside: whether features are those without the updates beside those with them, by two passes. Such a
            model is never merged.
        autocast: the precision of `passes`, as a context; the loop sets its own.
        statistics: what is kept of every class to align the head by; None unless it is aligned.
        calibration: what makes its answers trustworthy; None before `training.calibrate`, and outdated by `grow`.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        head: HeadKind = "linear",
        head_options: Mapping[str, Any] | None = None,
        randomness: Randomness | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head_kind: HeadKind = head
        self.head: Head = HEADS[head](backbone.width, **(head_options or {}))
        self.randomness = randomness or Randomness(0)
        self.class_names: list[str] = []
        self.task_sizes: list[int] = []
        self.adapted: tuple[str, ...] = ()
        self.first_blocks: int | None = None
        self.pretrained_beside = False
        self.autocast: Callable[..., AbstractContextManager[None]] = nullcontext
        self.statistics: ClassStatistics | None = None
        self.calibration: Calibration | None = None
        self._adapters: Adapters | None = None
        self._compiled: Callable[[Tensor], Tensor] | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.backbone.parameters()).device

    @property
    def width(self) -> int:
        """The number of features."""
        return self.backbone.width * (2 if self.pretrained_beside else 1)

    @property
    def n_classes(self) -> int:
        """The number of classes seen so far."""
        return len(self.class_names)

    @property
    def classes(self) -> list[list[str]]:
        """The class names of every task."""
        names = iter(self.class_names)
        return [list(islice(names, size)) for size in self.task_sizes]

    @property
    def adapters(self) -> Adapters:
        """The adapters on the backbone's projections.

        Raises:
            AdapterError: none were attached yet.
        """
        if self._adapters is None:
            raise AdapterError(
                "model.adapters",
                expected="adapters on the backbone's projections",
                got="none yet",
                next_step="call model.adapt(('query', 'value')) first, as a method does in before_task",
            )
        return self._adapters

    def adapt(self, kinds: Sequence[str], *, first_blocks: int | None = None) -> Adapters:
        """Attach adapters to these kinds of projections, once; later calls return the same ones.

        Args:
            kinds: of projections, such as `("query", "value")`.
            first_blocks: in that many blocks only, counted from the input; None, or more than there are: in all.

        Raises:
            MethodError: the backbone has no such projection.
            AdapterError: other projections are adapted already.
        """
        if self._adapters is None:
            targets = [
                Target(found.pattern, part=found.part, parts=found.parts, name=found.kind)
                for found in self.backbone.find(kinds, first_blocks=first_blocks)
            ]
            self._adapters = attach(self.backbone.network, targets)
            self.adapted, self.first_blocks = tuple(kinds), first_blocks
        elif (self.adapted, self.first_blocks) != (tuple(kinds), first_blocks):
            raise AdapterError(
                "model.adapt",
                expected=f"those adapted already: {', '.join(self.adapted)} of {self.first_blocks or 'all'} blocks",
                got=f"{', '.join(kinds)} of {first_blocks or 'all'} blocks",
                next_step="keep a method's targets for the life of a model",
            )
        return self._adapters

    def grow(self, class_names: Sequence[str]) -> None:
        """Make room for the classes of a new task.

        Raises:
            DataError: a class is known already, or named twice.
        """
        known = set(self.class_names)
        repeated = [name for i, name in enumerate(class_names) if name in known or name in class_names[:i]]
        if repeated or not class_names:
            raise DataError(
                "the classes of a new task",
                expected="at least one class, none of which the model knows",
                got=", ".join(repr(name) for name in repeated[:5]) or "no classes",
                next_step="give a class another name, or leave it out",
            )
        generator = self.randomness.torch("head", len(self.task_sizes))
        self.head.grow(len(class_names), generator=generator, device=self.device)
        self.calibration = self.calibration and self.calibration.outdated()
        self.class_names.extend(class_names)
        self.task_sizes.append(len(class_names))

    def forget(self, label: int) -> None:
        """Drop a class: its name and its row of the head; the labels after it move down by one.

        A task that has no class left stays, with none. What the adapters learnt from the class stays too, and so do its
        statistics: whoever drops a class that has any calls their `forget` as well.
        """
        self.head.forget(label)
        del self.class_names[label]
        self.task_sizes[place(label, self.task_sizes)[0]] -= 1

    def features(self, images: Tensor) -> Tensor:
        """Return `[n, width]` of normalised images `[n, 3, s, s]`."""
        compiled = self._compiled if torch.is_grad_enabled() else None
        adapted = (compiled or self.backbone)(images)
        if not self.pretrained_beside:
            return adapted
        with self.adapters.left_out():
            return torch.cat([self.backbone(images), adapted], dim=1)

    def compile_training(self) -> None:
        """Let `torch.compile` make the passes that learn faster; passes without gradients stay as they are.

        Adapted projections are left out of what is compiled, so it is compiled once and not at every task.
        """
        if self._compiled is None:
            self._compiled = torch.compile(self.backbone.forward)

    def forward(self, images: Tensor, *, since: int = 0, learning: bool = False) -> Tensor:
        """Return logits `[n, classes seen]` of normalised images `[n, 3, s, s]`; of the tasks from class `since` on.

        With `learning`, the logits that the loss is to see, where the head answers with others.
        """
        return self.head(self.features(images), since=since, learning=learning)

    def passes(self, images: TaskImages, *, epoch: int | None = None, size: int = 64) -> Iterator[tuple[Batch, Tensor]]:
        """Go once over a task's images without gradients; yield each batch with its features `[n, width]`.

        Of several processes each yields its own part of every batch, which may be empty; what is made of them has to be
        put together again, as `processes.total`, `heads.features_by_class` and `InputMoments.mean` do.

        Args:
            images: of a task.
            epoch: augmented as in that epoch of training; None: as test images are seen.
            size: images at once on each process.
        """
        kind, shard = next(self.backbone.parameters()).dtype, processes.shard()
        for batch in images.batches(size * shard[1], epoch=epoch, shard=shard, device=self.device):
            with torch.no_grad(), self.autocast():
                nothing = torch.empty(0, self.width, dtype=kind, device=self.device)
                runs = len(batch) or self.backbone.sharded
                features = self.features(batch.images.to(kind)) if runs else nothing
            yield batch, features

    def keep_company(self, rounds: int) -> None:
        """Run so often forward and backward on no image: others need this process's parts of a sharded backbone."""
        side, kind = self.backbone.spec.image_size, next(self.backbone.parameters()).dtype
        for _ in range(rounds if self.backbone.sharded else 0):
            with self.autocast():
                features = self.features(torch.empty(0, 3, side, side, dtype=kind, device=self.device))
            if features.requires_grad:
                features.sum().backward()

    def learning(self) -> list[nn.Parameter]:
        """Return the parameters that learn now."""
        return [p for p in self.parameters() if p.requires_grad]

    @contextmanager
    def merged(self) -> Generator[IncrementalClassifier]:
        """Be the plain backbone, all updates added to its weights, for as long as the context lasts.

        A model that needs the pretrained network too (`pretrained_beside`) stays as it is.
        """
        if self._adapters is None or self._adapters.merged or self.pretrained_beside:
            yield self
            return
        self._adapters.merge()
        try:
            yield self
        finally:
            self._adapters.unmerge()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return everything learnt: `head`, and what there is of adapters, statistics, calibration and backbone."""
        parts = {"head": self.head.tensors()}
        if self._adapters is not None:
            parts["adapters"] = self._adapters.tensors()
        if self.statistics is not None:
            parts["statistics"] = self.statistics.tensors()
        if self.calibration is not None:
            parts["calibration"] = self.calibration.tensors()
        if self.backbone.trained:
            state = self.backbone.network.state_dict()
            parts["backbone"] = {name: tensor.detach().clone() for name, tensor in state.items()}
        return parts

    def load_tensors(
        self,
        parts: Mapping[str, dict[str, Tensor]],
        classes: Sequence[Sequence[str]],
        *,
        targets: Sequence[str],
        first_blocks: int | None = None,
    ) -> None:
        """Take what `tensors` gave, on the device that the model is on.

        Args:
            parts: tensors by part.
            classes: the class names of every task.
            targets: the projections that were adapted; none where nothing was.
            first_blocks: how many blocks were; None: all.

        Raises:
            AdapterError: the adapters are those of another backbone.
        """
        device = self.device
        self.class_names = [name for task in classes for name in task]
        self.task_sizes = [len(task) for task in classes]
        if targets:
            self.adapt(targets, first_blocks=first_blocks).load_tensors(parts["adapters"])
        if "backbone" in parts:
            self.backbone.network.load_state_dict(parts["backbone"])
            self.backbone.trained = True
        self.head.width = self.backbone.width
        if "head" in parts:
            self.head.load_tensors(parts["head"], self.task_sizes)
        self.pretrained_beside = self.head.width > self.backbone.width
        if "statistics" in parts:
            self.statistics = load_statistics(parts["statistics"])
        if "calibration" in parts:
            self.calibration = Calibration.of_tensors(parts["calibration"])
        self.to(device)

    def stored_bytes(self) -> int:
        """Return how many bytes the model adds to its backbone on disk."""
        return sum(t.numel() * t.element_size() for part in self.tensors().values() for t in part.values())
