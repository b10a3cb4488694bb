"""Whatever a user gets wrong ends in one screen: exit code 2, where, expected, got, next; no traceback, no harm.

The words stand in `messages.txt`, so that a change of them is seen in review. To write them anew:

    LORASTREAM_REFRESH_MESSAGES=1 pytest tests/cli/test_messages.py
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

MESSAGES = Path(__file__).with_name("messages.txt")
REFRESH = "LORASTREAM_REFRESH_MESSAGES"
WIDTH, HEIGHT = 80, 24

Draw = Callable[..., None]


@dataclass(frozen=True)
class Mistake:
    """Something a user gets wrong: what is typed, and what lies on the desk.

    Attributes:
        typed: the command, without `lorastream`.
        desk: lays out what the command meets.
        own_backbone: the command loads the backbone that it names.
    """

    typed: str
    desk: Callable[[Draw], None] = lambda _draw: None
    own_backbone: bool = False


def photos(draw: Draw) -> None:
    draw("photos", "cat", "dog", "red fox", "日本 猫")


def _class_without_images(draw: Draw) -> None:
    photos(draw)
    Path("photos/newt").mkdir()
    Path("photos/newt/notes.txt").write_text("to come")


def _no_image(draw: Draw) -> None:
    photos(draw)
    Path("photos/dog/2.png").write_bytes(b"this is not a picture")


def _truncated(draw: Draw) -> None:
    photos(draw)
    torn = Path("photos/dog/2.png")
    torn.write_bytes(torn.read_bytes()[:-30])


def _twice(draw: Draw) -> None:
    photos(draw)
    draw("photos", "Dog ")


def _two_folders(draw: Draw) -> None:
    draw("photos/train", "cat", "dog")
    draw("photos/test", "cat", "dog")


def _without_partner(draw: Draw) -> None:
    draw("photos/train", "cat", "dog")
    draw("photos/test", "cat", "dgo")


def _weights(_draw: Draw) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"conv.weight": torch.zeros(3, 3), "conv.bias": torch.zeros(3)}, "resnet.safetensors")
    Path("torn.safetensors").write_bytes(b"\x10")


def _an_earlier_run(_draw: Draw, folder: str = "done") -> None:
    Path(folder).mkdir(parents=True)
    Path(folder, "record.json").write_text('{"schema": 1}')


def _a_run(_draw: Draw) -> None:
    from lorastream.runs import RunRecord, TaskResult

    row = TaskResult(classes=("cat",), n_train=1, n_test=1, accuracy=(1.0,))
    record = RunRecord(recipe={"method": {"name": "prototypes"}}).with_task(row)
    Path("done").mkdir()
    Path("done", "record.json").write_text(json.dumps(record.to_json()))


def _torn_archive(_draw: Draw) -> None:
    Path("torn.tar").write_bytes(b"half of it")


def _file(_draw: Draw) -> None:
    Path("file").write_text("mine")


def _records(_draw: Draw) -> None:
    for name, text in (("torn", '{"schema": 1, "id"'), ("foreign", '{"loss": 1}'), ("newer", '{"schema": 99}')):
        Path(name).mkdir()
        Path(name, "record.json").write_text(text)


def _recipes(_draw: Draw) -> None:
    Path("torn.toml").write_text("[data]\nsource = digits\n")
    Path("latin.toml").write_bytes('name = "K\u00e4se"'.encode("latin-1"))
    Path("poor.toml").write_text(
        'sede = 1\n[data]\nsource = "digitz"\ntrain_transfrom = "paper"\n[stream]\ntasks = 5\nsizes = [1, 0]\n'
        '[backbone]\nname = 3\n[method]\nname = "sd_lora"\nrank = -1\n[training]\nepochs = "four"\nlr = -1\n'
        'optimiser = "sdg"\n[methods.sdlora]\n'
    )


FOLDER = "run folder data.root=photos"
TIMM = "run digits backbone.name=test_vit.r160_in1k"
MISTAKES = {
    "unknown recipe": Mistake("run digts"),
    "recipe file that is not there": Mistake("run mine.toml"),
    "folder in place of a recipe": Mistake("run photos", photos),
    "recipe that is no TOML": Mistake("validate torn.toml", _recipes),
    "recipe that is no UTF-8": Mistake("validate latin.toml", _recipes),
    "more mistakes than a screen holds": Mistake("validate poor.toml", _recipes),
    "unknown methods": Mistake("run digits --methods sdlora,sd_lora,nonsense"),
    "no methods": Mistake("run digits --methods ,"),
    "unknown hyper-parameter": Mistake("run digits method.rnk=3"),
    "hyper-parameter out of range": Mistake("run digits method.rank=0"),
    "rank above the projection's width": Mistake("run digits method.rank=[10,1000]"),
    "threshold that is no share": Mistake("run digits --methods inf_lora method.threshold=1.5"),
    "threshold that falls": Mistake("run digits --methods inf_lora method.threshold=0.9 method.last_threshold=0.5"),
    "alignment of a head without rows": Mistake("run digits --methods prototypes training.alignment={}"),
    "unknown key": Mistake("run digits training.epoch=1"),
    "key without its section": Mistake("run digits epochs=1"),
    "no key": Mistake("run digits faster"),
    "value of another type": Mistake("run digits training.lr=fast"),
    "two mistakes": Mistake("run digits training.optimiser=sdg seed=-1"),
    "unknown source": Mistake("run digits data.source=digitz"),
    "unknown dataset": Mistake("run digits data.source=torchvision:CIFAR1000 data.root=photos"),
    "source without its dataset": Mistake("run digits data.source=torchvision"),
    "unknown option of a source": Mistake("run digits data.source=synthetic data.n_class=3"),
    "mistakes in method and source": Mistake("validate folder data.sede=1 data.test_fraction=half method.rank=0"),
    "source without its folder": Mistake("run folder"),
    "data that are not there": Mistake("run folder data.root=nowhere"),
    "parquet files that are not there": Mistake("run cifar100_deit_tiny data.root=photos", photos),
    "class without images": Mistake(FOLDER, _class_without_images),
    "file that is no image": Mistake(FOLDER, _no_image),
    "truncated image": Mistake(FOLDER, _truncated),
    "class names that are the same": Mistake(FOLDER, _twice),
    "classes without partner": Mistake(f"{FOLDER} data.test_fraction=none", _without_partner),
    "test fraction beside a test folder": Mistake(FOLDER, _two_folders),
    "more tasks than classes": Mistake(f"{FOLDER} stream.tasks=9", photos),
    "tasks that do not divide the classes": Mistake("run digits stream.tasks=3"),
    "more classes than the source has": Mistake(f"{FOLDER} stream.sizes=[3,3]", photos),
    "class that the source has not": Mistake(f'{FOLDER} stream.classes=[["cat"],["red_fox"]]', photos),
    "unknown backbone": Mistake("run digits backbone.name=vit_base_patch16_22", own_backbone=True),
    "ambiguous backbone": Mistake("run digits backbone.name=vit_base_patch16_224", own_backbone=True),
    "weights that are not there": Mistake(f"{TIMM} backbone.weights=nowhere.safetensors", own_backbone=True),
    "weights of another architecture": Mistake(f"{TIMM} backbone.weights=resnet.safetensors", _weights, True),
    "weights that are torn": Mistake(f"{TIMM} backbone.weights=torn.safetensors", _weights, True),
    "run that is there already": Mistake("run digits --out done", _an_earlier_run),
    "one of several runs that is there already": Mistake(
        "run digits --methods prototypes,sd_lora --out .",
        lambda draw: _an_earlier_run(draw, "sd_lora/0"),
    ),
    "folder below a file": Mistake("run digits --out file/run", _file),
    "no runs to report": Mistake("report"),
    "folder without runs": Mistake("report photos", photos),
    "records that cannot be read": Mistake("report torn foreign newer", _records),
    "runs without magnitudes": Mistake("report done --magnitudes", _a_run),
    "unknown benchmark": Mistake("data prepare imagent_r --root data"),
    "archive that is not there": Mistake("data prepare imagenet_r --root data --archive imagenet-r.tar"),
    "archive of another hash": Mistake("data prepare imagenet_r --root data --archive torn.tar", _torn_archive),
    "benchmark that was not prepared": Mistake("data verify imagenet_r --root data"),
    "source that was not prepared": Mistake("run imagenet_r_n10_sd_lora data.root=data"),
    "unknown kind of list": Mistake("list method"),
}


@pytest.fixture(params=MISTAKES, ids=[name.replace(" ", "-") for name in MISTAKES])
def mistake(request: pytest.FixtureRequest, draw: Draw) -> tuple[str, Mistake]:
    """One mistake after another, on its desk."""
    found = MISTAKES[request.param]
    found.desk(draw)
    if not found.own_backbone:
        request.getfixturevalue("tiny")
    return request.param, found


def test_a_mistake_is_told_on_one_screen(
    mistake: tuple[str, Mistake], lorastream: Callable[..., Any], files: Callable[[], dict[str, Any]]
) -> None:
    name, made = mistake
    before = files()
    told = lorastream(*_arguments(made.typed))
    assert (told.code, told.out) == (2, "")
    lines = told.err.splitlines()
    assert len(lines) <= HEIGHT
    assert all(cell_len(line) <= WIDTH and line == line.rstrip() for line in lines)
    assert all(re.search(rf"^  {word} +\S", told.err, re.MULTILINE) for word in ("expected", "got", "next"))
    assert "Traceback" not in told.err
    assert files() == before, "nothing on disk is touched"
    assert not list(Path(os.environ["LORASTREAM_CACHE"]).glob("*.unfinished"))
    text = f"$ lorastream {made.typed}\n{_without_others_names(told.err)}"
    if os.environ.get(REFRESH):
        _write({**_read(), name: text})
    assert _read().get(name) == text, f"the words have changed: if that is meant, set {REFRESH}=1 and run again"


def test_no_message_is_kept_that_nothing_says() -> None:
    assert list(_read()) == list(MISTAKES)


def _arguments(typed: str) -> list[str]:
    """Return the words of a command; no word here needs a shell's quotes."""
    return re.split(r" (?![^\[]*\])", typed)


def _without_others_names(text: str) -> str:
    """Leave out the names that another release of timm or torchvision lists otherwise."""
    text = re.sub(r"(?s)(expected +a backbone: ).*?(?=\n  got)", r"\1<the names that timm has>", text)
    text = re.sub(r"(?s)(expected +a dataset of torchvision: ).*?(?=\n  got)", r"\1<its names>", text)
    text = re.sub(r"(?s)(expected +an exact tag: ).*?(?=\n  got)", r"\1<the tags that timm has>", text)
    return re.sub(r"which \d+ checkpoints", "which <many> checkpoints", text)


def _read() -> dict[str, str]:
    """Return the messages that are pinned, by the name of the mistake."""
    text = MESSAGES.read_text("utf-8") if MESSAGES.exists() else ""
    sections = re.split(r"^## (.*)\n\n", text, flags=re.MULTILINE)[1:]
    return {name: body.rstrip("\n") + "\n" for name, body in zip(sections[::2], sections[1::2], strict=True)}


def _write(messages: dict[str, str]) -> None:
    known = [name for name in MISTAKES if name in messages]
    MESSAGES.write_text("\n".join(f"## {name}\n\n{messages[name]}" for name in known), "utf-8")
