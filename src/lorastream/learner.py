"""The public face: model, method and training settings as one thing that can be taught, asked, saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, Self, overload

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.load import load as load_backbone
from lorastream.data import sources
from lorastream.data.images import Dataset
from lorastream.data.pictures import Picture, listed
from lorastream.data.stream import Stream, StreamConfig
from lorastream.data.task import Task
from lorastream.data.transforms import TransformConfig, build_transforms
from lorastream.errors import DataError, unknown_name
from lorastream.heads.calibration import Score
from lorastream.methods import build as build_method
from lorastream.methods.protocol import Method, hyper_parameters, learnt_state, load_learnt_state
from lorastream.model import IncrementalClassifier
from lorastream.randomness import Randomness
from lorastream.recipes.build import training_settings
from lorastream.training.answers import Asked, Prediction, told
from lorastream.training.checkpoint import read_model, write_model
from lorastream.training.device import accelerator_for
from lorastream.training.evaluate import Evaluation, evaluate
from lorastream.training.events import Listener, Preparing, nobody
from lorastream.training.folder_evaluation import FolderEvaluation, evaluate_folder
from lorastream.training.learn import Learnt, learn
from lorastream.training.manifest import taken_as_written
from lorastream.training.requirements import (
    check_alignable,
    check_answers,
    check_fits,
    check_head,
    check_penalties,
    check_ranks,
)
from lorastream.training.resume import Keeper
from lorastream.training.settings import TrainingSettings
from lorastream.training.sharding import check_shardable, shard_backbone
from lorastream.visits.defaults import METHOD, TRANSFORMS, with_chosen
from lorastream.visits.outcome import Visit, joined, terms
from lorastream.visits.visit import visit


class Learner:
    """A pretrained transformer that is taught new classes, one task after another.

    Args:
        backbone: a name (`glyph_vit`, an exact timm tag, `hf:...`), or a loaded backbone that then belongs to it.
        method: a name, such as `sd_lora`.
        training: optimiser, epochs, batches; by default those of a preset and of the SD-LoRA code.
        transforms: how images are prepared, such as `{"train": "gentle"}`; see `data.transforms`.
        weights: a local file with the backbone's weights.
        image_size: side of the input in pixels; the backbone's own by default.
        seed: of everything random.
        listen: told of what goes on while it learns; see `training.events`.
        **options: the method's hyper-parameters, such as `rank=10`.

    Raises:
        UserError: a name is unknown, or a hyper-parameter out of range.
    """

    def __init__(
        self,
        backbone: str | Backbone = "glyph_vit",
        method: str = "sd_lora",
        *,
        training: TrainingSettings | Mapping[str, Any] | None = None,
        transforms: TransformConfig | Mapping[str, Any] | None = None,
        weights: str | Path | None = None,
        image_size: int | None = None,
        seed: int = 0,
        listen: Listener = nobody,
        **options: Any,  # noqa: ANN401 (each method has its own)
    ) -> None:
        self.training = (
            training
            if isinstance(training, TrainingSettings)
            else training_settings(training or {}, where="Learner", method=method)
        )
        self.method_name = method
        self.method: Method = build_method(method, options)
        check_alignable(self.training, self.method, method)
        check_head(self.training, self.method, method)
        check_answers(self.training, self.method, method)
        check_ranks(self.training, self.method, method)
        check_shardable(self.training, self.method, method)
        self.accelerator = accelerator_for(self.training)
        if isinstance(backbone, str):
            backbone = load_backbone(backbone, weights=weights, image_size=image_size)
        check_fits(self.method, backbone)
        check_penalties(self.training, self.method, method, backbone)
        self.randomness = Randomness(seed)
        own = self.training.head
        self.model = IncrementalClassifier(
            backbone,
            head=own.kind if own else self.method.traits.head,
            head_options=own.options() if own else None,
            randomness=self.randomness,
        )
        if self.training.shard_backbone:
            shard_backbone(self.model, self.method, self.accelerator.device)
        self.model.to(self.accelerator.device)
        self.transform_config = (
            transforms if isinstance(transforms, TransformConfig) else _transform_config(transforms or {})
        )
        self.transforms = build_transforms(backbone.spec, self.transform_config)
        self.listen = listen
        self._visits: list[Visit] = []

    @classmethod
    def create(
        cls,
        backbone: str | Backbone = "glyph_vit",
        method: str | None = None,
        *,
        transforms: TransformConfig | Mapping[str, Any] | None = None,
        **given: Any,  # noqa: ANN401 (as the constructor has them)
    ) -> Self:
        """Make a learner to be taught folders: as the constructor, but for photographs; see `visits.defaults`."""
        return cls(backbone, method or METHOD, transforms=TRANSFORMS if transforms is None else transforms, **given)

    @property
    def class_names(self) -> list[str]:
        """The classes it knows, in order of arrival."""
        return self.model.class_names

    @property
    def n_tasks(self) -> int:
        """How many tasks it has learnt."""
        return len(self.model.task_sizes)

    def stream(
        self,
        source: str,
        *,
        order: Literal["natural", "seed"] = "natural",
        cache: Path | None = None,
        **options: Any,  # noqa: ANN401 (each source has its own)
    ) -> Stream:
        """Make tasks of a source's classes, with this learner's transforms and seed.

        Args:
            source: `digits`, `folder`, `torchvision:<Dataset>`, `parquet`, `hf:<name>`.
            order: `natural`, or `seed` for the permutation that the published codes draw.
            cache: where decoded images are kept.
            **options: `tasks`, `sizes` or `classes` say how the classes are dealt out; the rest is the source's own,
                such as `root`.

        Raises:
            DataError: the source, its data or the sharing out is not as it must be.
        """
        shares = {key: options.pop(key) for key in ("tasks", "sizes", "classes") if key in options}
        return Stream.of(
            sources.load(source, **options),
            config=StreamConfig(order=order, **shares),
            seed=self.randomness.seed,
            transforms=self.transforms,
            cache=cache,
            progress=lambda done, total: self.listen(Preparing(done=done, total=total)),
        )

    @overload
    def learn(self, given: Task, *, keeper: Keeper | None = None) -> Learnt: ...
    @overload
    def learn(self, given: str | Path | Dataset, **on_terms: Any) -> Visit: ...  # noqa: ANN401 (each term and setting has its own)
    def learn(
        self, given: Task | str | Path | Dataset, *, keeper: Keeper | None = None, **on_terms: Any
    ) -> Learnt | Visit:
        """Learn one task, or the classes of a folder or a dataset; see `visits`.

        Args:
            given: a task whose classes are new; for a method that is not exemplar-free, `stream.joined(i)`. Or a
                folder with one folder a class, or a dataset: its settings follow from the amount of data.
            keeper: of a task: keeps what it comes to, to be gone on with; see `training.resume`.
            **on_terms: for a folder or dataset: `same_class` ("refuse", "merge" or "new"), `held_out`, `broken_share`,
                `require` ("old-drop<=1"), `evaluation` (a folder), `cache`, and settings such as `epochs`.

        Raises:
            DataError: the task does not follow on what the learner knows, or a folder is not as it must be.
            UpdateRefusedError: what was required does not hold; the learner is as it was.
            RunError: the loss is not finite.
        """
        if not isinstance(given, Task):
            self._visits.append(visit(self, given, terms(**on_terms)))
            return self._visits[-1]
        self._check_follows(given)
        return learn(
            self.model,
            self.method,
            given,
            self.training,
            accelerator=self.accelerator,
            listen=self.listen,
            keeper=keeper,
        )

    @overload
    def evaluate(self, tasks: str | Path) -> FolderEvaluation: ...
    @overload
    def evaluate(self, tasks: Sequence[Task] | Stream) -> Evaluation: ...
    def evaluate(self, tasks: Sequence[Task] | Stream | str | Path) -> Evaluation:
        """Evaluate on those of the tasks that it has learnt, or on a folder of class folders, among all it knows.

        Raises:
            DataError: a class folder is of no class that it knows, or empty.
        """
        if isinstance(tasks, str | Path):
            return evaluate_folder(self.asked(), tasks, listen=self.listen)
        learnt = [task for task in tasks if task.n_classes_seen <= self.model.n_classes]
        return evaluate(
            self.model,
            self.method,
            learnt,
            accelerator=self.accelerator,
            batch_size=self.training.evaluation_batch_size,
            listen=self.listen,
        )

    def predict(
        self, pictures: Picture | Sequence[Picture], *, top: int = 3, unknown: bool | Score = False
    ) -> list[Prediction]:
        """Say what pictures show.

        Args:
            pictures: one or several: files, folders, PIL images, arrays `[height, width]` or `[height, width, 3]`,
                tensors `[3, height, width]`, batches `[n, 3, height, width]`; numbers are uint8, or floats from 0 to 1.
                Of a folder, pictures that cannot be decoded are left out with a warning.
            top: how many classes to name, at least 1.
            unknown: name what is like no class `unknown`; also by which score: `mahalanobis` or `energy`.

        Raises:
            DataError: something is no picture, nothing was learnt yet, or the model was not calibrated for `unknown`.
        """
        return told(self.asked(), listed(pictures), top=top, unknown=unknown)

    def asked(self) -> Asked:
        """Return what answers for it: picture by picture, as they are decoded, for more than fit into memory."""
        size = self.training.evaluation_batch_size
        model, method, accelerator = self.model, self.method, self.accelerator
        return Asked(model=model, method=method, transform=self.transforms[1], accelerator=accelerator, batch_size=size)

    def save(self, folder: str | Path) -> Path:
        """Write everything learnt into a folder; an older model there stays whole until the new one is.

        Visits are written as a step of the folder's history, which can be gone back to: `training.manifest`.

        The backbone's own weights are not written unless they were trained: it is known by name and hash.
        """
        model = self.model
        facts = {
            "seed": self.randomness.seed,
            "backbone": model.backbone.identity.to_dict(),
            "method": {"name": self.method_name, **hyper_parameters(self.method)},
            "adapters": {"targets": list(model.adapted), "first_blocks": model.first_blocks},
            "training": self.training.model_dump(mode="json"),
            "chosen": sorted(self.training.model_fields_set),
            "transforms": asdict(self.transform_config),
        }
        if self.accelerator.is_main_process:
            parts = {**model.tensors(), "method": learnt_state(self.method)}
            write_model(Path(folder), facts, model.classes, parts, step=joined([made.step() for made in self._visits]))
        self._visits = []
        return Path(folder)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        backbone: Backbone | None = None,
        weights: str | Path | None = None,
        step: int | None = None,
        listen: Listener = nobody,
    ) -> Self:
        """Load what `save` wrote; it predicts the same and can be taught more.

        Args:
            folder: the model's folder.
            backbone: the backbone it was made with, if it is at hand.
            weights: where the backbone's weights file is now, if it was moved.
            step: of the folder's history; None: the current one.
            listen: told of what goes on.

        Raises:
            CheckpointError: no model there, or a file of it is damaged, or says what was never written.
            BackboneError: the backbone at hand is not the one the model was made with.
        """
        facts, parts = read_model(Path(folder), step=step)
        with taken_as_written(Path(folder)):
            known = facts["backbone"]
            if backbone is None:
                backbone = load_backbone(
                    known["name"],
                    weights=weights or known.get("weights"),
                    image_size=known["image_size"],
                    pretrained=known["pretrained"],
                )
            if known["pretrained"] or "backbone" not in parts:
                backbone.check_is(known["sha256"], where=str(folder))
            method = dict(facts["method"])
            learner = cls(
                backbone,
                method.pop("name"),
                training=with_chosen(training_settings(facts["training"], where=str(folder)), facts.get("chosen")),
                transforms=facts["transforms"],
                seed=facts["seed"],
                listen=listen,
                **method,
            )
            learner.model.load_tensors(parts, facts["classes"], **facts["adapters"])
            load_learnt_state(learner.method, parts.get("method", {}))
            return learner

    def _check_follows(self, task: Task) -> None:
        joined = not self.method.traits.exemplar_free
        known = self.model.n_classes
        same = task.first_class == 0 and list(task.class_names[:known]) == self.class_names
        follows = same if joined else task.first_class == known
        if follows and task.n_classes_seen > known:
            return
        raise DataError(
            f"learn, task {task.index}",
            expected="all classes so far and new ones: stream.joined(task.index)"
            if joined
            else f"a task whose first class is number {known}, as so many are known",
            got=f"classes {task.first_class} to {task.n_classes_seen - 1}",
            next_step=f"give {self.method_name} the tasks in the order of the stream, each once",
        )


def _transform_config(given: Mapping[str, Any]) -> TransformConfig:
    known = [field.name for field in fields(TransformConfig)]
    unknown = [unknown_name("transforms", kind="key", got=key, choices=known) for key in given if key not in known]
    if unknown:
        raise DataError.of(unknown)
    return TransformConfig(**given)
