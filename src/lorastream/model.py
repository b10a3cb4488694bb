"""The thing that is taught, saved, merged and served: backbone + adapters or prompts + head."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lorastream import processes
from lorastream.adapters import Adapters, Target, attach
from lorastream.backbones.backbone import Backbone
from lorastream.data.task import Batch, TaskImages
from lorastream.errors import AdapterError, DataError, MethodError
from lorastream.heads import Calibration, ClassStatistics, load_statistics
from lorastream.heads.kinds import HEADS, Head, HeadKind
from lorastream.heads.places import place
from lorastream.prompts import Chosen, Prompts, load_prompts
from lorastream.randomness import Randomness

Kind = TypeVar("Kind", bound=Prompts)


class IncrementalClassifier(nn.Module):
    """A frozen backbone, low-rank updates on its projections or prompts that enter it, and a head that grows.

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
        prompts: what enters the backbone beside an image, chosen in a pass of its own; None: nothing does.
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
        self.prompts: Prompts | None = None
        self.autocast: Callable[..., AbstractContextManager[None]] = nullcontext
        self.statistics: ClassStatistics | None = None
        self.calibration: Calibration | None = None
        self._adapters: Adapters | None = None
        self._compiled: Callable[..., Tensor] | None = None

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

    def prompt(self, kind: type[Kind], draw: Callable[[Tensor], Kind]) -> Kind:
        """Return the model's prompts; draw them where it has none yet.

        Args:
            kind: that they are of.
            draw: makes them as wide as and of the type of a tensor `[0, width]`.

        Raises:
            MethodError: it has prompts of another kind, or the backbone takes none.
        """
        if self.prompts is None:
            self.backbone.check_takes_prompts()
            weight = next(self.backbone.parameters())
            self.prompts = draw(weight.new_empty(0, self.backbone.width).detach())
        return self.prompts_as(kind)

    def prompts_as(self, kind: type[Kind]) -> Kind:
        """Return the model's prompts.

        Raises:
            MethodError: it has none, or some of another kind.
        """
        if isinstance(self.prompts, kind):
            return self.prompts
        raise MethodError(
            "model.prompts",
            expected=kind.__name__,
            got="none yet" if self.prompts is None else type(self.prompts).__name__,
            next_step="teach a model with the method that it was begun with",
        )

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
        if self.prompts is not None:
            self.prompts.forget(label)
        del self.class_names[label]
        self.task_sizes[place(label, self.task_sizes)[0]] -= 1

    def queries(self, images: Tensor) -> Tensor:
        """Return what prompts are chosen by, `[n, width]`: the features of the backbone that nothing enters."""
        with torch.no_grad():
            return self.backbone(images)

    def features(self, images: Tensor, *, prompts: Chosen | None = None) -> Tensor:
        """Return `[n, width]` of normalised images `[n, 3, s, s]`.

        Args:
            images: normalised.
            prompts: what enters with them; None: what the model's prompts, if it has any, choose to answer.
        """
        run = self._compiled if self._compiled is not None and torch.is_grad_enabled() else self.backbone
        if prompts is None and self.prompts is not None:
            prompts = self.prompts(self.queries(images))
        if prompts is not None:
            return run(images, tokens=prompts.tokens, prefixes=prompts.prefixes, read=prompts.read)
        if not self.pretrained_beside:
            return run(images)
        adapted = run(images)
        with self.adapters.left_out():
            return torch.cat([self.backbone(images), adapted], dim=1)

    def features_of_newest(self, images: Tensor) -> Tensor:
        """Return `[n, width]` of normalised images of the newest task: with its own prompts, whichever would answer."""
        if self.prompts is None:
            return self.features(images)
        return self.features(images, prompts=self.prompts.of_newest(self.queries(images)))

    def compile_training(self) -> None:
        """Let `torch.compile` make the passes that learn faster; passes without gradients stay as they are.

        Adapted projections are left out of what is compiled, so it is compiled once and not at every task.
        """
        if self._compiled is None:
            self._compiled = torch.compile(self.backbone.forward)

    def forward(
        self, images: Tensor, *, since: int = 0, learning: bool = False, prompts: Chosen | None = None
    ) -> Tensor:
        """Return logits `[n, classes seen]` of normalised images `[n, 3, s, s]`; of the tasks from class `since` on.

        With `learning`, the logits that the loss is to see, where the head answers with others; `prompts` as `features`
        has them.
        """
        return self.head(self.features(images, prompts=prompts), since=since, learning=learning)

    def passes(
        self,
        images: TaskImages,
        *,
        epoch: int | None = None,
        size: int = 64,
        features: Callable[[Tensor], Tensor] | None = None,
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Go once over a task's images without gradients; yield each batch with its features `[n, width]`.

        Of several processes each yields its own part of every batch, which may be empty; what is made of them has to be
        put together again, as `processes.total`, `heads.features_by_class` and `InputMoments.mean` do.

        Args:
            images: of a task.
            epoch: augmented as in that epoch of training; None: as test images are seen.
            size: images at once on each process.
            features: what makes features of images, such as `queries`; None: `features`.
        """
        features_of = features or self.features
        kind, shard = next(self.backbone.parameters()).dtype, processes.shard()
        for batch in images.batches(size * shard[1], epoch=epoch, shard=shard, device=self.device):
            with torch.no_grad(), self.autocast():
                nothing = torch.empty(0, self.width, dtype=kind, device=self.device)
                runs = len(batch) or self.backbone.sharded
                found = features_of(batch.images.to(kind)) if runs else nothing
            yield batch, found

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
        """Be the plain backbone, all updates added to its weights, for as long as the context lasts; prompts stay.

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
        """Return everything learnt by part: `head`, and what there is of adapters, prompts, statistics and the rest."""
        parts = {"head": self.head.tensors()}
        if self._adapters is not None:
            parts["adapters"] = self._adapters.tensors()
        if self.prompts is not None:
            parts["prompts"] = self.prompts.tensors()
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
        if "prompts" in parts:
            self.prompts = load_prompts(parts["prompts"])
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
