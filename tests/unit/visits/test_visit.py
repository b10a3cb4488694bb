"""A folder is taught, another next month: what was known stays in place, and what ends early changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lorastream import Learner
from lorastream.backbones.backbone import Backbone
from lorastream.data.sources import load
from lorastream.errors import DataError, MethodError, RecipeError, RunError
from lorastream.heads import LinearHead
from lorastream.heads.shared_covariance import SharedCovariance
from lorastream.training import settle as loop
from lorastream.visits.gate import UpdateRefusedError

Draw = Callable[..., Path]
Make = Callable[..., Learner]


def _state(learner: Learner) -> dict[str, Any]:
    tensors = {f"{part}/{name}": t for part, own in learner.model.tensors().items() for name, t in own.items()}
    return {"classes": learner.model.classes, **{name: tensor.tolist() for name, tensor in tensors.items()}}


def test_folders_of_any_size_are_learnt_one_after_another(draw: Draw, make: Make) -> None:
    learner = make()
    first = learner.learn(draw("a", {"cat": 9, "dog": 5}))
    second = learner.learn(draw("b", 6, "owl"))
    third = learner.learn(draw("c", 5, "ant", "bee", "fox"))
    assert learner.model.classes == [["cat", "dog"], ["owl"], ["ant", "bee", "fox"]]
    assert (first.n_train, first.n_held_out) == (7 + 4, 2 + 1)
    assert (first.accuracy_old, second.classes) == (None, ("owl",))
    assert set(third.old_before) == set(third.old) == {"cat", "dog", "owl"}
    assert third.old_measured_on == "feature statistics"
    assert set(third.new) == {"ant", "bee", "fox"}
    assert third.accuracy_new == pytest.approx(sum(third.new.values()) / 3)
    assert isinstance(learner.model.statistics, SharedCovariance)
    assert learner.model.calibration is not None


def test_what_is_held_out_follows_from_seed_and_name_alone(draw: Draw, make: Make) -> None:
    folder = draw("a", 12, "cat", "dog")
    first, second = make().learn(folder), make().learn(folder)
    assert (first.new, first.n_held_out) == (second.new, second.n_held_out)


def test_a_dataset_is_learnt_as_a_folder_is(make: Make) -> None:
    images = load("synthetic", n_classes=2, images_per_class=6, size=16)
    made = make().learn(images)
    assert (made.n_train, made.n_held_out) == (len(images.train), len(images.test))
    assert made.classes == images.class_names


def test_one_image_a_class_is_learnt_and_nothing_is_held_out_of_it(draw: Draw, make: Make) -> None:
    learner = make()
    made = learner.learn(draw("a", {"cat": 1, "dog": 1}))
    assert (made.n_train, made.n_held_out, made.accuracy_new) == (2, 0, None)
    assert made.not_held_out == ("cat", "dog")
    mixed = learner.learn(draw("b", {"owl": 1, "fox": 6}))
    assert (mixed.not_held_out, set(mixed.new)) == (("owl",), {"fox"})


def test_a_known_class_is_refused_unless_it_is_said_what_to_do(draw: Draw, make: Make) -> None:
    learner = make()
    learner.learn(draw("a", 5, "cat", "dog"))
    before = _state(learner)
    with pytest.raises(DataError, match=r"(?s)known already: 'cat'.*--same-class merge"):
        learner.learn(draw("b", 5, "cat", "owl"))
    with pytest.raises(DataError, match=r"'cat' and 'Cat'"):
        learner.learn(draw("c", 5, "Cat"))
    with pytest.raises(DataError, match="refuse, merge or new"):
        learner.learn(draw("d", 5, "cow"), same_class="mrege")
    assert _state(learner) == before


def test_a_known_class_becomes_another_where_that_is_said(draw: Draw, make: Make) -> None:
    learner = make()
    for name in ("a", "b", "c"):
        learner.learn(draw(name, 4, "cat"), same_class="new")
    assert learner.class_names == ["cat", "cat (2)", "cat (3)"]


def test_a_merged_class_keeps_its_place_and_its_row_learns_again(draw: Draw, make: Make) -> None:
    learner = make()
    learner.learn(draw("a", 5, "cat", "dog"))
    head, statistics = learner.model.head, learner.model.statistics
    assert isinstance(head, LinearHead)
    assert isinstance(statistics, SharedCovariance)
    row, images = head.weights[0].detach().clone(), statistics.images.tolist()
    made = learner.learn(draw("b", 5, "cat", "owl"), same_class="merge")
    assert (made.classes, made.again) == (("owl",), ("cat",))
    assert learner.model.classes == [["cat", "dog"], ["owl"]]
    assert head.n_classes == learner.model.n_classes == 3
    assert not torch.equal(head.weights[0][0], row[0])
    assert isinstance(learner.model.statistics, SharedCovariance)
    assert learner.model.statistics.images.tolist() == [images[0] + 4, images[1], 4]
    assert set(made.new) == {"cat", "owl"}


def test_a_visit_of_known_classes_alone_is_a_task_without_classes(draw: Draw, make: Make, tmp_path: Path) -> None:
    learner = make()
    learner.learn(draw("a", 5, "cat", "dog"))
    learner.learn(draw("b", 5, "cat", "dog"), same_class="merge")
    assert learner.model.classes == [["cat", "dog"], []]
    made = learner.learn(draw("c", 5, "owl"))
    assert learner.model.classes == [["cat", "dog"], [], ["owl"]]
    assert set(made.old) == {"cat", "dog"}
    learner.save(tmp_path / "model")
    loaded = Learner.load(tmp_path / "model", backbone=make().model.backbone)
    assert loaded.model.classes == learner.model.classes


@pytest.mark.parametrize(
    ("method", "training", "message"),
    [
        ("prototypes", {}, "prototypes, which keeps the mean"),
        ("sd_lora", {"alignment": None}, "without alignment"),
        ("sd_lora", {"alignment": {"covariance": "full"}}, "full covariances"),
    ],
)
def test_merging_is_refused_where_too_little_is_kept_of_a_class(
    draw: Draw, make: Make, method: str, training: dict[str, Any], message: str
) -> None:
    learner = make(method, training={"epochs": 1, "batch_size": 4, **training})
    learner.learn(draw("a", 5, "cat", "dog"))
    before = _state(learner)
    with pytest.raises(MethodError, match=message):
        learner.learn(draw("b", 5, "cat", "owl"), same_class="merge")
    assert _state(learner) == before


def test_a_method_that_needs_all_images_is_refused_by_its_name(draw: Draw, make: Make) -> None:
    with pytest.raises(MethodError, match="joint"):
        make("joint").learn(draw("a", 5, "cat"))


@pytest.mark.parametrize("method", ["sd_lora", "inf_lora", "finetune", "prototypes"])
def test_what_ends_early_leaves_the_learner_as_it_was(
    draw: Draw, make: Make, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = make(method, training={"epochs": 1, "batch_size": 4})
    learner.learn(draw("a", 5, "cat", "dog"))
    before, backbone = _state(learner), learner.model.backbone.network.state_dict()
    weights = {name: tensor.clone() for name, tensor in backbone.items()}
    folder = draw("b", 5, "owl", "fox")
    monkeypatch.setattr("lorastream.visits.gate.on_images", lambda *_: {"owl": 0.5, "fox": 1.0})
    with pytest.raises(UpdateRefusedError) as refused:
        learner.learn(folder, require=["new>=80", "new>=70"])
    assert [(v.value, v.holds) for v in refused.value.visit.verdicts] == [(75.0, False), (75.0, True)]
    assert _state(learner) == before
    assert all(torch.equal(learner.model.backbone.network.state_dict()[name], t) for name, t in weights.items())

    monkeypatch.setattr("lorastream.visits.visit.calibrate", _fails)
    with pytest.raises(KeyboardInterrupt):
        learner.learn(folder)
    assert _state(learner) == before
    monkeypatch.undo()
    learner.learn(folder)
    assert learner.n_tasks == 2


def _fails(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_first_visit_that_fails_can_be_made_again(draw: Draw, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = draw("a", 6, "cat", "dog")
    learner, untouched = make(), make()
    monkeypatch.setattr("lorastream.visits.visit.calibrate", _fails)
    with pytest.raises(KeyboardInterrupt):
        learner.learn(folder)
    monkeypatch.undo()
    assert (learner.class_names, learner.n_tasks) == ([], 0)
    learner.learn(folder)
    untouched.learn(folder)
    assert _state(learner) == _state(untouched)


def test_a_loss_that_is_not_finite_is_a_failed_run(draw: Draw, make: Make) -> None:
    learner = make()
    learner.learn(draw("a", 5, "cat", "dog"))
    before = _state(learner)
    with pytest.raises(RunError):
        learner.learn(draw("b", 5, "owl", "fox"), lr=1e30)
    assert _state(learner) == before


def test_settings_of_a_visit_are_checked(draw: Draw, make: Make) -> None:
    with pytest.raises(RecipeError, match="did you mean 'epochs'"):
        make().learn(draw("a", 5, "cat"), epoch=3)


def test_the_head_is_aligned_after_the_rows_were_merged(
    draw: Draw, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows of one class would be trained against each other."""
    seen: list[tuple[int, int]] = []
    align = loop.Alignment.align

    def watched(self: Any, head: Any, statistics: Any, sizes: Any, **given: Any) -> None:
        seen.append((head.n_classes, statistics.n_classes))
        align(self, head, statistics, sizes, **given)

    learner = make()
    learner.learn(draw("a", 5, "cat", "dog"))
    monkeypatch.setattr(loop.Alignment, "align", watched)
    learner.learn(draw("b", 5, "cat", "owl"), same_class="merge")
    assert seen == [(3, 3)]


def test_with_carried_magnitudes_a_visit_of_one_class_moves_no_feature(
    draw: Draw, tiny_backbone: Callable[[], Backbone]
) -> None:
    """A softmax over one class teaches nothing, so magnitudes that began anew would move old features for good."""
    learner = Learner.create(
        tiny_backbone(), training={"epochs": 2, "batch_size": 4, "lr": 0.05}, carry_magnitudes=True
    )
    assert learner.method_name == "sd_lora_plus"
    learner.learn(draw("a", 5, "cat", "dog"))
    side = learner.model.backbone.spec.image_size
    pictures = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    before = learner.model.features(pictures).detach()
    learner.learn(draw("b", 5, "owl"))
    torch.testing.assert_close(learner.model.features(pictures).detach(), before, atol=1e-5, rtol=0)
    assert learner.class_names == ["cat", "dog", "owl"]
