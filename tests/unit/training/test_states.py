"""A state is whole or not used: what is damaged is named, set aside and stepped over, whatever was done to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorastream.errors import CheckpointError, RunError
from lorastream.runs.unfinished import facts_of, state_files
from lorastream.training.states import State, States


@pytest.fixture
def states(tmp_path: Path) -> States:
    folder = tmp_path / "resume"
    folder.mkdir()
    return States(folder, tell=told.append)


told: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    told.clear()


def _tensors(value: float) -> dict[str, torch.Tensor]:
    return {"a/b": torch.full((2, 3), value), "none": torch.zeros(0, 4), "count": torch.tensor(int(value))}


def _task(states: States, value: float) -> State:
    return states.write_task({"index": value, "name": "Käse"}, _tensors(value))


def _names(states: States) -> list[str]:
    return [path.name for path in state_files(states.folder).values()]


def test_what_was_written_is_read_again(states: States) -> None:
    task = _task(states, 1.0)
    states.write_progress(task, {"epoch": 1, "loss": 0.1 + 0.2}, _tensors(2.0))
    found = states.newest()
    assert found is not None
    assert found.progress is not None
    assert (found.task.facts, found.task.sha256) == ({"index": 1.0, "name": "Käse"}, task.sha256)
    assert found.progress.facts["loss"] == 0.1 + 0.2
    for name, tensor in _tensors(2.0).items():
        assert torch.equal(found.progress.tensors[name], tensor)
        assert found.progress.tensors[name].dtype == tensor.dtype
    assert told == []


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_every_type_and_the_order_of_numbers_in_memory_are_kept(states: States, kind: torch.dtype) -> None:
    turned = (torch.arange(12).reshape(3, 4) % 5).to(kind).T
    view = torch.arange(40).to(kind)[1:7]
    states.write_task({}, {"turned": turned, "view": view})
    found = states.newest()
    assert found is not None
    assert found.task.tensors["turned"].stride() == turned.stride() == (1, 4)
    assert torch.equal(found.task.tensors["turned"], turned)
    assert torch.equal(found.task.tensors["view"], view)
    assert all(tensor.data_ptr() % 16 == 0 for tensor in found.task.tensors.values())


def test_kept_are_the_last_two_what_they_need_and_the_newest_of_the_task_before(states: States) -> None:
    task = _task(states, 1.0)
    for epoch in range(3):
        states.write_progress(task, {"epoch": epoch}, {})
    assert _names(states) == ["000001-task.safetensors", "000003-progress.safetensors", "000004-progress.safetensors"]
    task = _task(states, 2.0)
    for epoch in range(3):
        states.write_progress(task, {"epoch": epoch}, {})
    numbers = [int(name[:6]) for name in _names(states)]
    assert numbers == [1, 4, 5, 7, 8], "the last two, their task; the one before with its task"


@pytest.mark.parametrize("harm", ["torn", "bit", "empty", "removed", "header"])
def test_a_damaged_newest_state_is_named_and_set_aside_and_the_one_before_is_used(states: States, harm: str) -> None:
    task = _task(states, 1.0)
    kept = states.write_progress(task, {"epoch": 1}, _tensors(2.0))
    newest = states.write_progress(task, {"epoch": 2}, _tensors(3.0)).path
    content = newest.read_bytes()
    flipped = bytearray(content)
    flipped[-3] ^= 4
    header = content.replace(b'\\"epoch\\": 2', b'\\"epoch\\": 7')
    assert header != content
    harmed = {"torn": content[:-5], "bit": bytes(flipped), "empty": b"", "header": header}
    newest.unlink() if harm == "removed" else newest.write_bytes(harmed[harm])
    found = states.newest()
    assert found is not None
    assert found.progress is not None
    assert (found.progress.facts["epoch"], found.progress.path) == (1, kept.path)
    if harm != "removed":
        assert f"{newest} is damaged" in told[0]
        assert newest.with_name(newest.name + ".damaged").read_bytes() == harmed[harm]
        assert not newest.exists()


def test_a_damaged_task_state_costs_the_task_and_no_more(states: States) -> None:
    first = _task(states, 1.0)
    last_of_first = states.write_progress(first, {"epoch": 9}, {})
    second = _task(states, 2.0)
    states.write_progress(second, {"epoch": 1}, {})
    states.write_progress(second, {"epoch": 2}, {})
    second.path.write_bytes(second.path.read_bytes()[:-1])
    found = states.newest()
    assert found is not None
    assert found.progress is not None
    assert found.progress.path == last_of_first.path
    assert len(told) == 3


def test_where_all_are_damaged_it_says_so_and_keeps_them_aside(states: States) -> None:
    task = _task(states, 1.0)
    task.path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"(?s)a state that is whole.*all damaged.*begin anew"):
        states.newest()
    assert [path.name for path in states.folder.iterdir()] == ["000001-task.safetensors.damaged"]
    assert states.newest() is None, "nothing is left to go on with"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 600), flip=st.integers(0, 2000), mask=st.integers(1, 255))
def test_no_cut_and_no_flipped_byte_goes_unseen(states: States, cut: int, flip: int, mask: int) -> None:
    states.clear()
    states.folder.mkdir(exist_ok=True)
    _task(states, 5.0)
    newest = _task(states, 6.0).path
    content = bytearray(newest.read_bytes())
    content[flip % len(content)] ^= mask
    harmed = bytes(content) if not cut else bytes(content)[: -min(cut, len(content))]
    newest.write_bytes(harmed)
    found = states.newest()
    assert found is not None
    whole = {name: tensor.tolist() for name, tensor in found.task.tensors.items()}
    assert whole in ({n: t.tolist() for n, t in _tensors(value).items()} for value in (5.0, 6.0))
    for path in states.folder.glob("*.damaged"):
        path.unlink()


def test_a_full_disk_leaves_the_states_that_were_there(states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    task = _task(states, 1.0)

    def full(_descriptor: int, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lorastream.files._fill", full)
    with pytest.raises(RunError, match="No space left"):
        states.write_progress(task, {}, {})
    assert [path.name for path in states.folder.iterdir()] == [task.path.name]


def test_one_process_at_a_time_writes(states: States) -> None:
    other = States(states.folder)
    with (
        states.held(),
        pytest.raises(CheckpointError, match=r"(?s)nobody is at work on.*another process"),
        other.held(),
    ):
        pass
    with other.held():
        pass


def test_clearing_removes_states_and_leaves_what_else_is_there(states: States) -> None:
    _task(states, 1.0)
    (states.folder / ".000002-task.safetensors.xyz.tmp").write_bytes(b"half")
    (states.folder / "mine.txt").write_text("mine")
    states.clear()
    assert [path.name for path in states.folder.iterdir()] == ["mine.txt"]
    (states.folder / "mine.txt").unlink()
    states.clear()
    assert not states.folder.exists()
    states.clear()


def test_facts_are_read_without_the_tensors(states: States) -> None:
    path = _task(states, 3.0).path
    assert facts_of(path)["index"] == 3.0
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"."):
        facts_of(path)
