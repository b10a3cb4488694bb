"""What lies on disk or is typed gives a fault that says where and what, or success; no traceback, hang or changed file.

200 damaged inputs in the suite, the same every time; `make fuzz` tries LORASTREAM_FUZZ of them, others every time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mutators
import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutators import Mutated, json_text, mutated, toml_text
from rich.console import Console

from lorastream import Learner
from lorastream.backbones.backbone import Backbone
from lorastream.cli import visits as shown_visits
from lorastream.data import sources
from lorastream.data.benchmarks import lists, manifest
from lorastream.data.benchmarks.manifest import Manifest, SplitClass
from lorastream.data.stream import Stream, StreamConfig
from lorastream.data.transforms import InputSpec, TransformConfig, build_transforms
from lorastream.errors import Fault, UserError
from lorastream.recipes import build, catalogue, load
from lorastream.reports import accuracy_matrices, as_json, closing_line, markdown, summary_table
from lorastream.runs import store
from lorastream.runs.record import RunRecord, TaskResult
from lorastream.suites import plan
from lorastream.visits import steps

IN_THE_SUITE = 200
WANTED = int(os.environ.get("LORASTREAM_FUZZ", str(IN_THE_SUITE)))
TARGETS = 9
LONGEST = 30  # seconds that one input may take on a busy machine
SUITE = """
methods = ["sd_lora", "prototypes"]
seeds = [0, 1]
once = ["sd_lora"]
overrides = ["training.epochs=1"]
retries = 1

[recipes.digits]

[recipes.small]
recipe = "digits"
overrides = ["stream.tasks=2"]
"""

Tried = Counter[tuple[str, str, str]]
fuzz = settings(
    max_examples=-(-WANTED // TARGETS),
    derandomize=WANTED == IN_THE_SUITE,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@contextlib.contextmanager
def watched(folder: Path, tried: Tried, target: str, kind: str) -> Iterator[None]:
    """Let UserErrors pass, count what came of it, and see that it was over soon and that no file has changed."""

    def late(_signal: int, _frame: object) -> None:
        pytest.fail(f"{target}, {kind}: not over after {LONGEST} s")

    before = _content(folder)
    signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST)
    faults: tuple[Fault, ...] | None = None
    try:
        yield
    except UserError as error:
        faults = error.faults
    finally:
        signal.alarm(0)
    assert _content(folder) == before
    assert faults is None or (faults and all(fault.where and fault.expected and fault.next_step for fault in faults))
    tried[target, kind, "taken" if faults is None else "refused"] += 1


def _content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _printed(*parts: Any) -> None:
    console = Console(file=io.StringIO(), width=80)
    for part in parts:
        console.print(part)


DIGITS = catalogue.find("digits").read_bytes()
CIFAR = catalogue.find("cifar100_deit_tiny").read_bytes()


@fuzz
@given(st.sampled_from([DIGITS, CIFAR]).flatmap(lambda text: mutated(text, tomllib.loads, toml_text)))
def test_recipes(tmp_path_factory: pytest.TempPathFactory, tried: Tried, damaged: Mutated) -> None:
    folder = tmp_path_factory.mktemp("recipe")
    file = folder / "mine.toml"
    file.write_bytes(damaged.content)
    with watched(folder, tried, "recipe", damaged.kind):
        for method in [None, *load.method_names(file)]:
            with contextlib.suppress(UserError):
                build.load(file, method=method)
        catalogue.summary(file)
        load.read(file)


KEYS = ["training.lr", "training.epochs", "stream.sizes", "stream.classes", "data.root", "data.n_classes", "seed"]
KEYS += ["method.rank", "methods.sd_lora.training.lr", "training.alignment", "training", "", "...", "a=b", "stream"]


@st.composite
def _overrides(draw: st.DrawFn) -> tuple[str, list[str]]:
    kind, value = draw(mutators.values())
    try:
        literal = _literal(value) if draw(st.booleans()) else str(value)
    except (TypeError, ValueError):
        literal = draw(
            st.sampled_from(["[" * mutators.DEEP, "{a=" * 500, "'", "1e9999", "0x", "9" * 5000, "2020-01-01"])
        )
    keys = draw(st.lists(st.sampled_from(KEYS) | st.text(max_size=8), min_size=1, max_size=3))
    return kind, [f"{key}{draw(st.sampled_from(['=', '=', '=', '']))}{literal}" for key in keys]


def _literal(value: Any) -> str:
    """Write a value as TOML."""
    return toml_text({"a": value}).partition("=")[2].strip()


@fuzz
@given(_overrides())
def test_overrides(tmp_path_factory: pytest.TempPathFactory, tried: Tried, given_: tuple[str, list[str]]) -> None:
    kind, overrides = given_
    with watched(tmp_path_factory.mktemp("overrides"), tried, "override", kind):
        build.load("digits", overrides)


@fuzz
@given(mutated(SUITE.encode(), tomllib.loads, toml_text))
def test_suites(tmp_path_factory: pytest.TempPathFactory, tried: Tried, damaged: Mutated) -> None:
    folder = tmp_path_factory.mktemp("suite")
    (folder / "many.toml").write_bytes(damaged.content)
    with watched(folder, tried, "suite", damaged.kind):
        for run in plan.read(folder / "many.toml").runs:
            assert ".." not in run.folder.relative_to(run.folder.parents[2]).parts


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out a benchmark of two classes with its manifest."""
    root = tmp_path_factory.mktemp("birds")
    for name in ("wren/1.png", "wren/2.png", "crow/1.png", "crow/2.png"):
        (root / "imagenet-r" / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (4, 3)).save(root / "imagenet-r" / name)
    classes = tuple(SplitClass(name=n, train=(f"{n}/1.png",), test=(f"{n}/2.png",)) for n in ("wren", "crow"))
    made = Manifest(benchmark="imagenet_r", split="seed0", kind="drawn", rule="r", folder="imagenet-r", classes=classes)
    manifest.write(made.signed(), root)
    return root


@fuzz
@given(data=st.data(), signed=st.booleans())
def test_benchmark_manifests(
    tmp_path_factory: pytest.TempPathFactory, tried: Tried, birds: Path, data: st.DataObject, *, signed: bool
) -> None:
    """Signed anew after it was damaged, so that its hash does not give it away."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(birds, root, dirs_exist_ok=True)
    path = root / "lorastream/imagenet_r/seed0.json"
    damaged = data.draw(mutated(path.read_bytes(), json.loads, json_text))
    path.write_bytes(damaged.content)
    if signed:
        with contextlib.suppress(UserError):
            path.write_text(manifest.read(path).signed().model_dump_json(), "utf-8", "surrogatepass")
    with watched(root, tried, "manifest", damaged.kind):
        dataset = sources.load("benchmark:imagenet_r", root=str(root))
        for images in (dataset.train, dataset.test):
            for i in range(len(images.labels)):
                images.read(i)


LINES = b"data/imagenet-r/wren/1.png 0\ndata/imagenet-r/crow/1.png 1\n"
YAML = b"data:\n- data/imagenet-r/wren/1.png\n- data/imagenet-r/crow/1.png\ntargets:\n- 0\n- 1\n"


@fuzz
@given(
    st.sampled_from([("list.txt", LINES), ("list.yaml", YAML)]).flatmap(
        lambda pair: st.tuples(st.just(pair[0]), mutated(pair[1], lambda _text: {"data": [], "a": 1}, json_text))
    )
)
def test_lists_of_images(
    tmp_path_factory: pytest.TempPathFactory, tried: Tried, birds: Path, given_: tuple[str, Mutated]
) -> None:
    name, damaged = given_
    folder = tmp_path_factory.mktemp("lists")
    (folder / name).write_bytes(damaged.content)
    (folder / "test.txt").write_text("imagenet-r/wren/2.png 0\nimagenet-r/crow/2.png 1\n")
    with watched(folder, tried, "list", damaged.kind):
        lists.read_lists([folder / name], [folder / "test.txt"], root=birds, folder="imagenet-r")


@pytest.fixture(scope="module")
def dataset() -> Any:
    """Four classes of two images each."""
    return sources.load("synthetic", n_classes=4, images_per_class=2, test_images_per_class=1, size=16)


STREAM = b'[stream]\nclasses = [["0", "1"], ["2", "3"]]\n'
STREAM_OF_SIZES = b'[stream]\nsizes = [1, 3]\norder = "natural"\n'
REST = '\n[data]\nsource = "synthetic"\n[backbone]\nname = "x"\n[method]\nname = "sd_lora"\n'


@fuzz
@given(st.sampled_from([STREAM, STREAM_OF_SIZES]).flatmap(lambda text: mutated(text, tomllib.loads, toml_text)))
def test_streams(tmp_path_factory: pytest.TempPathFactory, tried: Tried, dataset: Any, damaged: Mutated) -> None:
    folder = tmp_path_factory.mktemp("stream")
    (folder / "mine.toml").write_bytes(damaged.content + REST.encode())
    spec = InputSpec(image_size=16, mean=(0.5,) * 3, std=(0.5,) * 3, resize_ratio=1.0)
    cache = tmp_path_factory.getbasetemp() / "cache"
    with watched(folder, tried, "stream", damaged.kind):
        recipe = load.load(folder / "mine.toml")
        stream: Stream = build.stream(recipe, dataset, build_transforms(spec, TransformConfig()), cache=cache)
        assert all(len(task.class_names) == task.n_classes_seen - task.first_class for task in stream)


@pytest.fixture
def model(tmp_path: Path, tiny_backbone: Callable[[], Backbone]) -> Path:
    """Make a model with a history of two steps."""
    folder = tmp_path / "model"
    learner = Learner.create(tiny_backbone(), "sd_lora", training={"epochs": 1, "batch_size": 4})
    images = sources.load("synthetic", n_classes=2, images_per_class=2, size=16)
    config = StreamConfig(tasks=1, order="natural")
    stream = Stream.of(images, config=config, seed=0, transforms=learner.transforms, cache=tmp_path / "cache")
    learner.learn(stream[0])
    learner.save(folder)
    steps.rename(folder, learner.class_names[0], "wren")
    return folder


@fuzz
@given(data=st.data())
def test_model_folders(
    tmp_path_factory: pytest.TempPathFactory,
    tried: Tried,
    model: Path,
    tiny_backbone: Callable[[], Backbone],
    data: st.DataObject,
) -> None:
    """The current manifest, a step of the past, the names of the classes, or the tensors."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(model, folder, dirs_exist_ok=True)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    name = data.draw(st.sampled_from([*["model.toml"] * 6, *names]))
    content = (folder / name).read_bytes()
    forms = {".toml": (tomllib.loads, toml_text), ".json": (json.loads, json_text)}
    if Path(name).suffix in forms:
        damaged = data.draw(mutated(content, *forms[Path(name).suffix]))
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        damaged = Mutated("truncated", content[:place])
    (folder / name).write_bytes(damaged.content)
    with watched(folder, tried, "model", damaged.kind):
        with contextlib.suppress(UserError):
            _printed(shown_visits.history_table(steps.history(folder), width=80))
        loaded = Learner.load(folder, backbone=tiny_backbone())
        loaded.predict([PIL.Image.fromarray(np.zeros((16, 16, 3), np.uint8))])


def _record() -> bytes:
    record = RunRecord(recipe={"name": "digits", "method": {"name": "sd_lora"}}, id="0", versions={"torch": "2"})
    for t in range(3):
        row = tuple(0.5 + 0.1 * k for k in range(t + 1))
        result = TaskResult(
            classes=(f"a{t}", f"b{t}"), n_train=4, n_test=2, accuracy=row, task_restricted_accuracy=row, seconds=1.0
        )
        record = record.with_task(result)
    return json_text(record.ended("finished").to_json()).encode()


@fuzz
@given(mutated(_record(), json.loads, json_text))
def test_records(tmp_path_factory: pytest.TempPathFactory, tried: Tried, damaged: Mutated) -> None:
    folder = tmp_path_factory.mktemp("record")
    (folder / "record.json").write_bytes(damaged.content)
    with watched(folder, tried, "record", damaged.kind):
        record = store.read(folder)
        _printed(accuracy_matrices([record]), summary_table([record]), closing_line([record]))
        as_json([record])
        markdown([record])


def _picture(form: str) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)).save(file, form)
    return file.getvalue()


@fuzz
@given(data=st.data(), form=st.sampled_from(["png", "jpeg", "gif", "webp", "tiff", "bmp"]))
def test_pictures(tmp_path_factory: pytest.TempPathFactory, tried: Tried, data: st.DataObject, form: str) -> None:
    folder = tmp_path_factory.mktemp("pictures")
    content = bytearray(_picture(form))
    kind = data.draw(st.sampled_from(["bytes flipped", "truncated"]))
    places = data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6))
    if kind == "truncated":
        del content[places[0] :]
    for place in places if kind == "bytes flipped" else ():
        content[place] ^= data.draw(st.integers(1, 255))
    for name, picture in (("wren/1", _picture(form)), ("wren/2", bytes(content)), ("crow/1", _picture(form))):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.{form}").write_bytes(picture)
    with watched(folder, tried, "picture", kind):
        images = sources.load("folder", root=str(folder), test_fraction=0.5)
        for role in (images.train, images.test):
            for i in range(len(role.labels)):
                role.read(i)


def test_enough_was_tried(tried: Tried) -> None:
    """Hypothesis may stop early where it believes that it has seen everything."""
    targets = {target for target, _, _ in tried}
    if len(targets) == TARGETS:
        assert sum(tried.values()) >= 0.95 * WANTED
