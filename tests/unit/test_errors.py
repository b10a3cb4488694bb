"""Every error says where, what was expected, what was got and what to do next, and carries its exit code."""

from __future__ import annotations

import pytest

from lorastream import errors
from lorastream.errors import (
    AdapterError,
    BackboneError,
    CheckpointError,
    DataError,
    Fault,
    LorastreamError,
    MethodError,
    MissingExtraError,
    RecipeError,
    RunError,
    UserError,
    nearest,
    unknown_name,
)

USER_ERRORS = [AdapterError, BackboneError, CheckpointError, DataError, MethodError, MissingExtraError, RecipeError]


@pytest.mark.parametrize("kind", [*USER_ERRORS, RunError])
def test_the_message_holds_all_four_parts_in_order(kind: type[LorastreamError]) -> None:
    message = str(kind("recipe.toml, training.lr", expected="above 0", got="-1", next_step="set it to 0.01"))
    places = [message.index(part) for part in ("recipe.toml, training.lr", "above 0", "-1", "set it to 0.01")]
    assert places == sorted(places)


@pytest.mark.parametrize("kind", USER_ERRORS)
def test_what_the_user_wrote_exits_with_two_and_is_a_value_error(kind: type[UserError]) -> None:
    assert kind.exit_code == 2
    assert issubclass(kind, ValueError)


def test_a_run_that_failed_exits_with_one_and_is_no_users_error() -> None:
    assert RunError.exit_code == 1
    assert not issubclass(RunError, UserError)


def test_the_tree_on_top_of_the_module_names_every_class_of_it() -> None:
    named = errors.__doc__ or ""
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, LorastreamError):
            assert name in named


def test_several_faults_make_one_error_that_tells_all() -> None:
    faults = [Fault(f"key {i}", "a number", "text", "correct it") for i in range(3)]
    error = RecipeError.of(faults)
    assert isinstance(error, RecipeError)
    assert error.faults == tuple(faults)
    assert str(error).count("expected:") == 3
    assert error.args == (str(error),)


def test_a_missing_extra_names_the_line_that_installs_it_and_is_an_import_error() -> None:
    error = MissingExtraError.missing("data source hf", package="datasets", extra="hf")
    assert isinstance(error, ImportError)
    assert "'datasets'" in str(error)
    assert "pip install 'lorastream[hf]'" in str(error)


def test_the_nearest_names_come_best_first_and_far_ones_not_at_all() -> None:
    assert nearest("sd_lro", ["sd_lora", "joint", "inf_lora"])[0] == "sd_lora"
    assert nearest("zzz", ["sd_lora", "joint"]) == []
    assert len(nearest("aa", ["aaa", "aab", "aac", "aad"], limit=2)) == 2


def test_an_unknown_name_is_answered_with_the_nearest_or_the_list() -> None:
    near = unknown_name("stream.classes", kind="class", got="appel", choices=["apple", "bear"])
    assert "'apple'" in near.next_step
    assert near.got == "'appel'"
    far = unknown_name("data.source", kind="source", got="xyz", choices=["digits", "folder"])
    assert "digits, folder" in far.expected
    assert "list" in far.next_step


def test_a_long_list_of_choices_is_cut_and_counted_and_none_is_said() -> None:
    assert "(40 in all)" in unknown_name("x", kind="class", got="q", choices=[f"c{i}" for i in range(40)]).expected
    assert "there are none" in unknown_name("x", kind="class", got="q", choices=[]).expected
