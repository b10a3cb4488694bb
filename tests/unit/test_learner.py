"""A learner is taught task by task, asked, saved and loaded; what cannot be is refused in words and harms nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from lorastream import Learner, Prediction
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.data.transforms import TransformConfig
from lorastream.errors import BackboneError, CheckpointError, DataError, MethodError, RecipeError
from lorastream.training.events import EpochDone, Event, TaskLearnt, TaskStarted
from lorastream.training.settings import TrainingSettings

TRAINING: dict[str, Any] = {"epochs": 3, "batch_size": 8, "lr": 0.05}


@pytest.fixture(autouse=True)
def _same_numbers() -> Generator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def stream(synthetic_stream: Callable[..., Stream]) -> Stream:
    return synthetic_stream(tasks=3)


@pytest.fixture
def make(tiny_backbone: Callable[[], Backbone]) -> Callable[..., Learner]:
    def make(method: str = "sd_lora", **options: Any) -> Learner:
        settings = {"training": TRAINING, "transforms": {"train": "gentle"}}
        return Learner(tiny_backbone(), method, **{**settings, **options})

    return make


@pytest.fixture
def taught(make: Callable[..., Learner], stream: Stream) -> Learner:
    learner = make()
    for index in (0, 1):
        learner.learn(stream[index])
    return learner


@pytest.fixture
def picture(stream: Stream) -> PIL.Image.Image:
    """Return a picture of the first class as it came from its source, at another size."""
    return stream[0].test.picture(0).resize((40, 30))


def test_as_in_the_readme(tmp_path: Path) -> None:
    learner = Learner("glyph_vit", "sequential_lora", training={"epochs": 1, "batch_size": 4, "lr": 0.01}, rank=2)
    sizes: dict[str, Any] = {"n_classes": 4, "images_per_class": 4, "test_images_per_class": 2}
    stream = learner.stream("synthetic", **sizes, tasks=2, cache=tmp_path / "cache")
    for task in stream:
        learner.learn(task)
        accuracy = learner.evaluate(stream).accuracy
        assert len(accuracy) == task.index + 1
    answers = learner.predict(stream[0].test.picture(0))
    learner.save(tmp_path / "model")
    loaded = Learner.load(tmp_path / "model")
    assert loaded.class_names == learner.class_names == [f"pattern {k}" for k in range(4)]
    assert loaded.predict(stream[0].test.picture(0)) == answers


def test_predictions_name_classes_with_probabilities_best_first(taught: Learner, picture: PIL.Image.Image) -> None:
    (answer,) = taught.predict(picture)
    assert isinstance(answer, Prediction)
    assert (answer.name, answer.probability) == answer.top[0]
    names, probabilities = zip(*answer.top, strict=True)
    assert len(set(names)) == 3
    assert set(names) <= set(taught.class_names)
    assert list(probabilities) == sorted(probabilities, reverse=True)
    assert [len(p.top) for top in (1, 4, 99) for p in taught.predict(picture, top=top)] == [1, 4, 4]
    assert sum(p for _, p in taught.predict(picture, top=99)[0].top) == pytest.approx(1.0)


def test_predictions_are_the_answers_of_the_evaluation(taught: Learner, stream: Stream) -> None:
    confusion = np.zeros((4, 4), dtype=np.int64)
    for task in (stream[0], stream[1]):
        pictures = [task.test.picture(i) for i in range(len(task.test))]
        for label, answer in zip(task.test.labels.tolist(), taught.predict(pictures), strict=True):
            confusion[label, taught.class_names.index(answer.name)] += 1
    assert np.array_equal(confusion, taught.evaluate(stream).confusion)
    assert confusion.trace() > 20  # of 40: it did learn


def test_pictures_may_be_images_paths_or_both_in_any_number(
    taught: Learner, picture: PIL.Image.Image, tmp_path: Path
) -> None:
    path = tmp_path / "picture.png"
    picture.save(path)
    (expected,) = taught.predict(picture)
    assert taught.predict(path) == taught.predict(str(path)) == [expected]
    for answer in taught.predict([picture, path, str(path), picture.convert("RGBA")]):
        assert answer.name == expected.name
        assert answer.probability == pytest.approx(expected.probability, abs=1e-5)
    assert taught.predict([]) == []


def test_more_pictures_than_fit_in_a_batch(make: Callable[..., Learner], stream: Stream) -> None:
    learner = make(training={**TRAINING, "epochs": 1, "evaluation_batch_size": 3})
    learner.learn(stream[0])
    pictures = [stream[0].test.picture(i) for i in range(8)]
    together = [answer.probability for answer in learner.predict(pictures)]
    assert together == pytest.approx([learner.predict(picture)[0].probability for picture in pictures], abs=1e-5)


@pytest.mark.parametrize("name", ["no_image.png", "nowhere.png", "folder"])
def test_what_is_no_picture_is_refused_by_its_name(taught: Learner, tmp_path: Path, name: str) -> None:
    (tmp_path / "no_image.png").write_text("not a picture")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=name):
        taught.predict([tmp_path / name])


def test_asking_too_early_or_for_nothing_is_refused(
    make: Callable[..., Learner], taught: Learner, picture: PIL.Image.Image
) -> None:
    with pytest.raises(DataError, match="learn a task"):
        make().predict(picture)
    with pytest.raises(DataError, match=r"(?s)predict, top.*got: +0"):
        taught.predict(picture, top=0)


def test_tasks_come_in_their_order_each_once(make: Callable[..., Learner], stream: Stream) -> None:
    learner = make(training={**TRAINING, "epochs": 0})
    with pytest.raises(DataError, match="first class is number 0"):
        learner.learn(stream[1])
    learner.learn(stream[0])
    for index in (0, 2):
        with pytest.raises(DataError, match=r"(?s)first class is number 2.*in the order of the stream"):
            learner.learn(stream[index])
    learner.learn(stream[1])
    assert (learner.n_tasks, len(learner.class_names)) == (2, 4)


def test_a_class_that_is_known_is_refused(
    make: Callable[..., Learner], synthetic_stream: Callable[..., Stream]
) -> None:
    """A task of another stream that follows on by its numbers, but not by its names."""
    learner = make(training={**TRAINING, "epochs": 0})
    learner.learn(synthetic_stream(tasks=2, classes_per_task=2)[0])
    task = synthetic_stream(tasks=2, classes_per_task=2)[1]
    object.__setattr__(task, "class_names", ("pattern 3", "pattern 1"))
    with pytest.raises(DataError, match="'pattern 1'"):
        learner.learn(task)
    assert learner.class_names == ["pattern 0", "pattern 1"]


def test_a_method_that_needs_all_images_is_given_the_joined_task(
    make: Callable[..., Learner], stream: Stream, synthetic_stream: Callable[..., Stream]
) -> None:
    learner = make("joint", training={**TRAINING, "epochs": 0})
    learner.learn(stream.joined(0))
    for wrong in (stream[1], stream.joined(0)):
        with pytest.raises(DataError, match=r"stream\.joined"):
            learner.learn(wrong)
    other = synthetic_stream(tasks=2)
    backwards = other.joined(1)
    object.__setattr__(backwards, "class_names", tuple(reversed(backwards.class_names)))
    with pytest.raises(DataError, match=r"stream\.joined"):
        learner.learn(backwards)
    learner.learn(stream.joined(1))
    assert learner.model.task_sizes == [2, 2]


def test_evaluation_leaves_out_what_was_not_learnt_yet(taught: Learner, stream: Stream) -> None:
    found = taught.evaluate(stream)
    assert (len(found.accuracy), found.confusion.shape) == (2, (4, 4))
    assert taught.evaluate([stream[1]]).n_test == (20,)


def test_before_the_first_task_there_is_nothing_to_evaluate(make: Callable[..., Learner], stream: Stream) -> None:
    assert make().evaluate(stream).accuracy == ()


def test_what_was_saved_predicts_the_same_and_learns_on(
    taught: Learner,
    stream: Stream,
    picture: PIL.Image.Image,
    tmp_path: Path,
    tiny_backbone: Callable[[], Backbone],
) -> None:
    taught.save(tmp_path / "model")
    events: list[Event] = []
    loaded = Learner.load(tmp_path / "model", backbone=tiny_backbone(), listen=events.append)
    assert loaded.predict(picture) == taught.predict(picture)
    assert loaded.training == taught.training
    assert loaded.transform_config == TransformConfig(train="gentle")
    loaded.learn(stream[2])
    assert loaded.n_tasks == 3
    assert [type(event) for event in events if not isinstance(event, EpochDone)][:1] == [TaskStarted]
    assert isinstance(events[-1], TaskLearnt)
    assert not list((tmp_path / "model").glob("backbone-*"))


def test_a_learner_that_knows_nothing_yet_is_saved_too(
    make: Callable[..., Learner], stream: Stream, tmp_path: Path, tiny_backbone: Callable[[], Backbone]
) -> None:
    make().save(tmp_path / "model")
    loaded = Learner.load(tmp_path / "model", backbone=tiny_backbone())
    assert loaded.class_names == []
    loaded.learn(stream[0])


def test_saving_again_replaces_the_older_model(taught: Learner, stream: Stream, tmp_path: Path) -> None:
    folder = taught.save(tmp_path / "model")
    before = {path.name for path in folder.iterdir()}
    taught.learn(stream[2])
    taught.save(folder)
    after = {path.name for path in folder.iterdir()}
    assert len(after) == len(before)
    assert before & after == {"model.toml", "classes.json"}


@pytest.mark.parametrize("pretrained", [False, True])
def test_another_backbone_is_refused_also_where_its_weights_are_random(
    stream: Stream, tmp_path: Path, tiny_backbone: Callable[..., Backbone], pretrained: bool
) -> None:
    own, same, other = (tiny_backbone(seed=seed, pretrained=pretrained) for seed in (1, 1, 2))
    learner = Learner(own, "prototypes")
    learner.learn(stream[0])
    learner.save(tmp_path / "model")
    Learner.load(tmp_path / "model", backbone=same)
    with pytest.raises(BackboneError, match=r"(?s)backbone tiny.*SHA-256.*weights=\.\.\."):
        Learner.load(tmp_path / "model", backbone=other)


def test_a_backbone_that_was_trained_comes_with_the_model(
    make: Callable[..., Learner],
    stream: Stream,
    tmp_path: Path,
    picture: PIL.Image.Image,
    tiny_backbone: Callable[..., Backbone],
) -> None:
    learner = make("finetune")
    learner.learn(stream[0])
    learner.save(tmp_path / "model")
    random = tiny_backbone(seed=2)
    assert Learner.load(tmp_path / "model", backbone=random).predict(picture) == learner.predict(picture)


def test_a_backbone_that_no_one_knows_by_name_must_be_at_hand(taught: Learner, tmp_path: Path) -> None:
    taught.save(tmp_path / "model")
    with pytest.raises(BackboneError, match="'tiny'"):
        Learner.load(tmp_path / "model")


def test_where_there_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        Learner.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"method": "sdlora"}, MethodError, "did you mean 'sd_lora'"),
        ({"rank": 0}, MethodError, r"method\.rank"),
        ({"rnak": 3}, MethodError, "did you mean 'rank'"),
        ({"training": {"epochs": -1, "lr": "fast"}}, RecipeError, r"(?s)training\.epochs.*>= 0.*training\.lr"),
        ({"training": {"epoch": 3}}, RecipeError, "did you mean 'epochs'"),
        ({"training": {"milestones": [3]}}, RecipeError, 'schedule = "multistep"'),
        ({"training": {"precision": "fp8"}}, RecipeError, "one of fp32, bf16, fp16"),
        ({"transforms": {"train": "gentel"}}, DataError, "did you mean 'gentle'"),
        ({"transforms": {"trian": "gentle"}}, DataError, "did you mean 'train'"),
    ],
)
def test_what_it_is_made_with_is_checked(
    make: Callable[..., Learner], given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(**given)


def test_a_preset_brings_its_training_and_what_is_given_lies_over_it(tiny_backbone: Callable[[], Backbone]) -> None:
    learner = Learner(tiny_backbone(), "inf_lora_ca", training={"lr": 0.02, "alignment": {"epochs": 2}})
    assert learner.training.lr == 0.02
    assert learner.training.alignment is not None
    assert (learner.training.alignment.epochs, learner.training.alignment.samples_per_class) == (2, 256)
    whole = TrainingSettings(lr=0.02)
    assert Learner(tiny_backbone(), "inf_lora_ca", training=whole).training is whole


def test_what_a_preset_brings_and_was_left_out_stays_out_when_loaded(
    tmp_path: Path, stream: Stream, tiny_backbone: Callable[[], Backbone]
) -> None:
    """TOML has no null: on disk nothing stands where the alignment was left out."""
    training = {"alignment": None, "epochs": 1, "batch_size": 8}
    learner = Learner(tiny_backbone(), "inf_lora_ca", training=training)
    learner.learn(stream[0])
    learner.save(tmp_path / "model")
    assert Learner.load(tmp_path / "model", backbone=tiny_backbone()).training == learner.training


def test_a_projection_that_the_backbone_lacks_is_found_out_when_learning_begins(
    stream: Stream, tiny_backbone: Callable[[], Backbone]
) -> None:
    backbone = tiny_backbone()
    del backbone.projections["mlp_in"]
    with pytest.raises(MethodError, match=r"(?s)method\.targets, backbone tiny.*'mlp_in'"):
        Learner(backbone, "sd_lora", targets=["query", "mlp_in"]).learn(stream[0])
