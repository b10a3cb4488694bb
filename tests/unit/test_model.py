"""The classifier grows by the classes of a task, merges for as long as it is told to, and hands out what it learnt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lorastream.adapters import AdaptedLinear
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.errors import AdapterError, DataError, MethodError
from lorastream.heads import LinearHead, PrototypeHead
from lorastream.model import IncrementalClassifier
from lorastream.randomness import Randomness


@pytest.fixture
def model(tiny_backbone: Callable[[], Backbone]) -> IncrementalClassifier:
    return IncrementalClassifier(tiny_backbone(), randomness=Randomness(1))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def _taught(model: IncrementalClassifier) -> IncrementalClassifier:
    model.grow(["cat", "dog"])
    adapters = model.adapt(("query", "value"))
    adapters.grow(2, generator=model.randomness.torch("test"), up_std=0.3)
    adapters.freeze()
    return model


def test_it_grows_by_the_classes_of_a_task(model: IncrementalClassifier, images: Tensor) -> None:
    model.grow(["cat", "dog"])
    before = model(images)
    model.grow(["owl"])
    assert (model.class_names, model.task_sizes, model.n_classes) == (["cat", "dog", "owl"], [2, 1], 3)
    assert model(images).shape == (3, 3)
    assert torch.equal(model(images)[:, :2], before)
    assert model.features(images).shape == (3, 32)


@pytest.mark.parametrize("names", [["owl", "cat"], ["owl", "owl"], []])
def test_classes_that_are_known_or_named_twice_are_refused(model: IncrementalClassifier, names: list[str]) -> None:
    model.grow(["cat", "dog"])
    with pytest.raises(DataError, match="none of which the model knows"):
        model.grow(names)
    assert (model.class_names, model.task_sizes, model.head.n_classes) == (["cat", "dog"], [2], 2)


def test_new_rows_follow_from_the_seed_and_the_task_alone(tiny_backbone: Callable[[], Backbone]) -> None:
    drawn = []
    for seed in (1, 1, 2):
        model = IncrementalClassifier(tiny_backbone(), randomness=Randomness(seed))
        model.grow(["cat"])
        torch.rand(3)  # the global generator has no say
        model.grow(["dog"])
        drawn.append(model.head.tensors()["weight"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0][0], drawn[0][1])


def test_the_head_is_of_the_kind_asked_for(tiny_backbone: Callable[[], Backbone]) -> None:
    assert isinstance(IncrementalClassifier(tiny_backbone()).head, LinearHead)
    assert isinstance(IncrementalClassifier(tiny_backbone(), head="prototype").head, PrototypeHead)


def test_adapting_twice_gives_the_same_adapters(model: IncrementalClassifier) -> None:
    adapters = model.adapt(("query", "value"))
    assert model.adapt(["query", "value"]) is adapters
    assert model.adapters is adapters
    assert model.adapted == ("query", "value")
    assert len(adapters) == 4  # two blocks, two slices each
    with pytest.raises(AdapterError, match=r"(?s)query, value.*got: +key"):
        model.adapt(("key",))


def test_a_projection_that_the_backbone_lacks_is_refused_by_name(model: IncrementalClassifier) -> None:
    with pytest.raises(MethodError, match=r"(?s)method\.targets.*'qeury'.*did you mean 'query'"):
        model.adapt(("qeury",))
    assert model.adapted == ()
    assert model.adapt(("query", "mlp_in"))


def test_adapters_before_they_are_attached_are_an_error(model: IncrementalClassifier) -> None:
    with pytest.raises(AdapterError, match="none yet"):
        _ = model.adapters


def test_only_what_is_meant_to_learns(model: IncrementalClassifier) -> None:
    model.grow(["cat", "dog"])
    model.head.learn(newest_only=True)
    assert {id(p) for p in model.learning()} == {id(p) for p in model.head.parameters()}
    model.adapt(("query",)).grow(1, generator=torch.Generator())
    names = {name for name, p in model.named_parameters() if p.requires_grad and not name.startswith("head")}
    assert names == {
        f"backbone.network.blocks.{block}.attn.qkv.adapters.query.{part}" for block in (0, 1) for part in ("down", "up")
    }


def test_merged_it_is_the_plain_backbone_for_as_long_as_the_context_lasts(
    model: IncrementalClassifier, images: Tensor
) -> None:
    _taught(model)
    before = model(images)
    with model.merged() as merged:
        assert merged is model
        assert not any(isinstance(module, AdaptedLinear) for module in model.modules())
        torch.testing.assert_close(model(images), before, atol=1e-6, rtol=0)
        with model.merged():
            pass
        assert not any(isinstance(module, AdaptedLinear) for module in model.modules())
    assert torch.equal(model(images), before)


def test_an_error_inside_unmerges_too(model: IncrementalClassifier) -> None:
    _taught(model)
    with pytest.raises(ZeroDivisionError), model.merged():
        _ = 1 / 0
    assert any(isinstance(module, AdaptedLinear) for module in model.modules())


def test_with_the_pretrained_features_beside_it_is_never_merged(model: IncrementalClassifier, images: Tensor) -> None:
    pretrained = model.features(images)
    _taught(model)
    adapted = model.features(images)
    model.pretrained_beside = True
    assert model.width == 64
    expected = torch.cat([pretrained, adapted], dim=1)
    with model.merged():
        assert torch.equal(model.features(images), expected)
    assert torch.equal(model.features(images), expected)


def test_the_width_of_the_head_says_whether_the_pretrained_features_are_beside(model: IncrementalClassifier) -> None:
    _taught(model)
    narrow, classes = model.tensors(), model.classes
    model.pretrained_beside = True
    model.head.set_newest(torch.ones(2, 64))
    wide = model.tensors()
    for parts, beside in ((narrow, False), (wide, True), ({"adapters": wide["adapters"]}, False)):
        model.head = model.head.empty()
        model.load_tensors(parts, classes if "head" in parts else [], targets=("query", "value"))
        assert (model.pretrained_beside, model.head.width) == (beside, 64 if beside else 32)
    model.grow(["owl"])
    assert model.head.tensors()["weight"].shape == (1, 32)


def test_without_adapters_merging_changes_nothing(model: IncrementalClassifier, images: Tensor) -> None:
    model.grow(["cat"])
    with model.merged():
        assert model(images).shape == (3, 1)


def test_what_it_learnt_by_part(model: IncrementalClassifier) -> None:
    assert model.tensors() == {"head": {}}
    _taught(model)
    parts = model.tensors()
    assert set(parts) == {"head", "adapters"}
    head = 2 * 32 + 2
    adapters = 4 * (2 * 32 + 32 * 2 + 2)  # of each of four slices: down, up, scale
    ranks = 4  # one update of each slice, int64
    assert model.stored_bytes() == 4 * (head + adapters) + 8 * ranks


def test_a_backbone_that_was_trained_is_a_part_too(model: IncrementalClassifier) -> None:
    model.grow(["cat"])
    model.backbone.trained = True
    parts = model.tensors()
    assert parts["backbone"].keys() == model.backbone.network.state_dict().keys()
    parts["backbone"]["norm.weight"].zero_()
    assert model.backbone.network.state_dict()["norm.weight"].any()


def test_it_stays_in_evaluation_mode_below_the_head(model: IncrementalClassifier) -> None:
    model.train()
    assert not any(module.training for module in model.backbone.modules())


def test_what_it_learnt_is_loaded_into_another(
    model: IncrementalClassifier, images: Tensor, tiny_backbone: Callable[[], Backbone]
) -> None:
    _taught(model).grow(["owl"])
    assert model.classes == [["cat", "dog"], ["owl"]]
    loaded = IncrementalClassifier(tiny_backbone())
    loaded.load_tensors(model.tensors(), model.classes, targets=["query", "value"])
    assert (loaded.class_names, loaded.task_sizes) == (model.class_names, model.task_sizes)
    assert loaded.adapted == ("query", "value")
    assert not loaded.backbone.trained
    assert torch.equal(loaded(images), model(images))


def test_a_backbone_that_was_trained_is_loaded_too(
    model: IncrementalClassifier, images: Tensor, tiny_backbone: Callable[[], Backbone]
) -> None:
    model.grow(["cat", "dog"])
    model.backbone.trained = True
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.mul_(1.5)
    loaded = IncrementalClassifier(tiny_backbone())
    loaded.load_tensors(model.tensors(), model.classes, targets=[])
    assert loaded.backbone.trained
    assert loaded.adapted == ()
    assert torch.equal(loaded(images), model(images))


def test_only_the_first_blocks_take_updates_where_it_is_told_so(
    model: IncrementalClassifier, tiny_backbone: Callable[[], Backbone]
) -> None:
    adapters = model.adapt(("key", "value"), first_blocks=1)
    assert [name for name, _ in adapters.items()] == ["blocks.0.attn.qkv/key", "blocks.0.attn.qkv/value"]
    assert model.adapt(("key", "value"), first_blocks=1) is adapters
    with pytest.raises(AdapterError, match="of all blocks"):
        model.adapt(("key", "value"))
    deeper = IncrementalClassifier(tiny_backbone()).adapt(("key",), first_blocks=5)
    assert len(deeper) == 2, "it has two blocks, and takes them all"


def test_a_pass_yields_every_image_once_with_its_features(
    model: IncrementalClassifier, synthetic_stream: Callable[..., Stream]
) -> None:
    images = synthetic_stream()[0].train
    batches, features = zip(*model.passes(images, size=5), strict=True)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 4]
    (whole,) = images.batches(100)
    torch.testing.assert_close(torch.cat(features), model.features(whole.images), atol=1e-5, rtol=0)
    assert not any(found.requires_grad for found in features)
    augmented = torch.cat([found for _, found in model.passes(images, epoch=0)])
    assert augmented.shape == (24, 32)
    assert not torch.allclose(augmented, torch.cat(features))


def test_a_pass_runs_in_the_precision_of_the_run(
    model: IncrementalClassifier, synthetic_stream: Callable[..., Stream]
) -> None:
    model.autocast = lambda: torch.autocast("cpu", dtype=torch.bfloat16)
    seen: list[torch.dtype] = []
    layer = model.backbone.network.get_submodule("blocks.0.mlp.fc1")
    layer.register_forward_hook(lambda *found: seen.append(found[2].dtype))
    list(model.passes(synthetic_stream()[0].train))
    assert seen == [torch.bfloat16]
