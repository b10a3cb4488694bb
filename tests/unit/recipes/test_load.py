"""Reading recipes: the library validates, overrides are TOML, and all faults come at once, each with its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.errors import Fault, RecipeError
from lorastream.recipes import load

MINIMAL = """# What it is.
#   lorastream run x

# not the header
seed = 3
data = { source = "digits" }
stream = { tasks = 5 }
backbone = { name = "glyph_vit" }
method = { name = "sd_lora" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL, "utf-8")
    return path


def faults(path: str | Path, *overrides: str, method: str | None = None) -> list[Fault]:
    with pytest.raises(RecipeError) as caught:
        load.load(path, overrides, method)
    return list(caught.value.faults)


@pytest.mark.parametrize("name", load.names())
def test_every_recipe_of_the_library_is_valid_and_says_what_it_is(name: str) -> None:
    recipe = load.read(name)
    assert recipe.name == name
    for method in recipe.method_names():
        assert load.load(name, method=method).method.name == method
    header = load.header(name)
    assert f"lorastream run {name}" in header
    assert all(f"{part}:" in header for part in ("Source", "Hardware"))
    assert "Expected:" in header or "Published:" in header
    assert load.summary(name) == header.splitlines()[0] != ""


def test_the_library_holds_the_recipes_that_the_commands_name() -> None:
    assert {"digits", "cifar100_deit_tiny", "folder"} <= set(load.names())
    assert {"sequential_lora", "sd_lora"} <= set(load.read("digits").method_names())


def test_a_file_is_named_after_itself(file: Path) -> None:
    recipe = load.load(file)
    assert (recipe.name, recipe.seed, recipe.stream.tasks) == ("mine", 3, 5)


def test_header_is_the_comment_before_anything_else(file: Path) -> None:
    assert load.header(file) == "What it is.\n  lorastream run x"
    assert load.summary(file) == "What it is."
    assert load.text(file) == MINIMAL


def test_overrides_lie_over_everything(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text(MINIMAL + "training = { lr = 0.1 }\nmethods = { b = { rank = 2, training = { lr = 0.2 } } }\n")
    assert load.load(path, method="b").training.lr == 0.2
    recipe = load.load(path, ["training.lr=1e-3", "method.rank=3", "methods.b.scale=2.0"], "b")
    assert (recipe.training.lr, recipe.method.hyperparameters) == (0.001, {"rank": 3, "scale": 2.0})
    assert load.load(path, ["method.name=b"]).method.hyperparameters == {"rank": 2}


def test_another_cut_of_the_stream_takes_the_place_of_the_files(file: Path) -> None:
    assert load.load(file, ["stream.sizes=[1, 2]"]).stream.sizes == (1, 2)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("k=1", 1),
        ("k=1e-3", 0.001),
        ("k=true", True),
        ("k=[1, 2]", [1, 2]),
        ('k="1"', "1"),
        ("k=bare word", "bare word"),
        ("k=~/x", "~/x"),
        ("k=a=b", "a=b"),
        ("k=vit.tag", "vit.tag"),
        ("k=", ""),
        ("k=1\nj=2", "1\nj=2"),
        ("k=1 # no comment", 1),
        ("k={a = 1}", {"a": 1}),
    ],
)
def test_values_of_overrides(override: str, value: object) -> None:
    assert load.parse_overrides([override]) == ([(("k",), value)], [])


@given(st.text(st.sampled_from("k.=[]{}\"'\n#1eé -"), max_size=12))
def test_any_override_is_taken_or_refused(text: str) -> None:
    changes, faults = load.parse_overrides([text])
    assert len(changes) + len(faults) == 1
    assert all(all(path) for path, _ in changes)


@given(st.lists(st.text(st.sampled_from('abdotrsm.=[]{}"1e-'), max_size=14), max_size=3))
def test_any_overrides_give_a_recipe_or_faults(overrides: list[str]) -> None:
    try:
        recipe = load.load("digits", overrides)
    except RecipeError:
        return
    assert recipe.methods == {}


def test_all_faults_at_once_each_with_its_place(file: Path) -> None:
    file.write_text(MINIMAL + "training = { lr = -1, epoch = 2 }\nmethods = { b = { training = { lrr = 1 } } }\n")
    found = faults(file, "stream.tasks=0", "data.train_transform=papr", "nonsense", "x.y=1")
    assert {fault.where for fault in found} == {
        *("mine.toml: training.lr", "mine.toml: training.epoch", "override stream.tasks"),
        *("override data.train_transform", "override 'nonsense'", "override x"),
    }
    assert {fault.where for fault in faults(file, method="b")} == {
        *("mine.toml: training.lr", "mine.toml: training.epoch", "mine.toml: methods.b.training.lrr"),
    }
    with pytest.raises(RecipeError) as caught:
        load.read(file)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        (
            "training.lr=fast",
            Fault("override training.lr", "a number > 0", '"fast"', "for example training.lr = 0.008"),
        ),
        ("seed=-1", Fault("override seed", "a whole number >= 0 and < 2**32", "-1", "for example seed = 0")),
        (
            "stream.sizes=[1, 'a']",
            Fault("override stream.sizes[1]", "a whole number >= 1", '"a"', "give a whole number >= 1"),
        ),
        (
            "data.train_transform=papr",
            Fault(
                "override data.train_transform",
                "one of paper, inf_lora, gentle, photo, none",
                '"papr"',
                "did you mean 'paper'?",
            ),
        ),
        (
            "data.option=nan",
            Fault("override data.option", "a finite number", "NaN", "give a number that is not nan or inf"),
        ),
        ("data=4", Fault("override data", "a table", "4", "give a table")),
        (
            "backbone.weights=",
            Fault(
                "override backbone.weights",
                "text that is not empty",
                '""',
                "give text that is not empty, or leave it out",
            ),
        ),
    ],
)
def test_words_of_a_fault(override: str, fault: Fault) -> None:
    assert faults("digits", override) == [fault]


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        (
            "training.alignment.epochs=-1",
            Fault("override training.alignment.epochs", "a whole number >= 0", "-1", "for example training.alignment."),
        ),
        (
            "training.alignment.epoch=1",
            Fault("override training.alignment.epoch", "a key of [training.alignment]: ", "'epoch'", "did you mean "),
        ),
        ("training.alignment=3", Fault("override training.alignment", "a table", "3", "give a table")),
        (
            "published.sd_lora.log.average_accuracy=101",
            Fault("override published.sd_lora.log.average_accuracy", "a number >= 0 and <= 100", "101", "give a "),
        ),
        (
            "published.sd_lora.paper.runs=0",
            Fault("override published.sd_lora.paper.runs", "a whole number >= 1", "0", "give a "),
        ),
        (
            "published.sd_lora.log.sorce=x",
            Fault("override published.sd_lora.log.sorce", "a key of [published.sd_lora.log]: ", "'sorce'", "did you "),
        ),
        (
            "published.sd_lora.table=x",
            Fault("override published.sd_lora.table", "a key of [published.sd_lora]: log, paper", "'table'", "choose "),
        ),
        ("published=3", Fault("override published", "a table", "3", "")),
    ],
)
def test_words_of_a_fault_in_a_table_of_a_table(override: str, fault: Fault) -> None:
    (found,) = faults("imagenet_r_n10_sd_lora", override)
    assert (found.where, found.got) == (fault.where, fault.got)
    assert found.expected.startswith(fault.expected)
    assert found.next_step.startswith(fault.next_step)


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("training.epoch=1", "'epochs'"),
        ("trainig.lr=1", "'training'"),
        ("data.train_transfrm=paper", "'train_transform'"),
        ("stream.task=1", "'tasks'"),
    ],
)
def test_an_unknown_key_names_the_nearest(override: str, near: str) -> None:
    (fault,) = faults("digits", override)
    assert fault.where.startswith("override ")
    assert near in fault.next_step


def test_an_unknown_recipe_names_the_nearest() -> None:
    (fault,) = faults("digts")
    assert "'digits'" in fault.next_step


@pytest.mark.parametrize(
    ("content", "where", "got"),
    [
        (b"a = 1\nb = digits\n", "mine.toml: line 2, column 5", "Invalid value"),
        (b"a = ", "mine.toml: end of document", "Invalid value"),
        (b"a = 1\na = 2\n", "mine.toml", "overwrite"),
        (b"\xff", "mine.toml", "UTF-8"),
    ],
)
def test_what_is_no_toml(file: Path, content: bytes, where: str, got: str) -> None:
    file.write_bytes(content)
    (fault,) = faults(file)
    assert where in fault.where
    assert got in fault.got


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path / "none.toml")
    assert fault.got == "No such file or directory"


def test_missing_sections_are_all_named(file: Path) -> None:
    file.write_text("seed = 1")
    assert [fault.next_step for fault in faults(file)] == [
        f"add a section [{name}]" for name in ("data", "stream", "backbone", "method")
    ]


def test_a_missing_key_says_what_it_is_for(file: Path) -> None:
    file.write_text(MINIMAL.replace('method = { name = "sd_lora" }', "method = { rank = 3 }"))
    (fault,) = faults(file)
    assert (fault.where, fault.got, fault.next_step) == ("mine.toml: method.name", "nothing", "add method.name = ...")


def test_a_missing_key_with_choices_names_them() -> None:
    (fault,) = faults("digits", "training.head.scale=3")
    assert (fault.where, fault.got) == ("digits.toml: training.head.kind", "nothing")
    assert fault.expected == "one of linear, cosine, discriminant"


def test_reading_recipes_loads_no_torch() -> None:
    code = "import sys, lorastream.recipes.load as load; load.read('digits'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
