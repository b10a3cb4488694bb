"""A process alone puts nothing together and tells nobody: every function gives back what it was given."""

from __future__ import annotations

import pytest
import torch

from lorastream import processes
from lorastream.errors import DataError

RESET = "[/pytorch/gloo/pair.cc:545] Read error [127.0.0.1]:10958: Connection reset by peer. This is typical. More."


def test_alone_nothing_changes() -> None:
    tensor = torch.tensor([3.0, 1.0])
    assert processes.shard() == (0, 1)
    assert not processes.joined()
    assert processes.total(tensor) is tensor
    assert processes.smallest(tensor) is tensor
    processes.announce("of no matter")
    processes.watch()
    processes.end(processes.store_of_failures())
    assert processes.announced() is None
    assert processes.speaks()


def test_alone_a_process_decides_for_itself() -> None:
    error = DataError("a.png", expected="an image", got="none", next_step="mend it")

    def refuse() -> int:
        raise error

    assert processes.by_the_first(lambda: 7) == 7
    with pytest.raises(DataError) as raised:
        processes.by_the_first(refuse)
    assert raised.value is error


def test_rows_are_put_into_the_order_of_their_positions() -> None:
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    found = processes.gathered(rows, torch.tensor([2, 0, 1]))
    assert found.tolist() == [[3.0, 4.0], [5.0, 6.0], [1.0, 2.0]]
    assert processes.gathered(torch.tensor([7, 8]), torch.tensor([1, 0])).tolist() == [8, 7]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, 1), ({"WORLD_SIZE": "8"}, 1), ({"WORLD_SIZE": "8", "LOCAL_RANK": "3"}, 8), ({"LOCAL_RANK": "0"}, 1)],
)
def test_a_launcher_is_known_by_its_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: int
) -> None:
    for name in ("WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processes.launched() == expected


def test_a_lost_process_is_told_in_one_sentence() -> None:
    (fault,) = processes.lost(RuntimeError(RESET)).faults
    assert fault.got.endswith("killed or ran out of memory (Connection reset by peer)")
    assert "--resume" in fault.next_step


def test_reasons_of_errors_that_were_not_foreseen_name_their_kind() -> None:
    assert processes.reason_of(LookupError("gone")) == "LookupError: gone"
    known = DataError("a.png", expected="an image", got="none", next_step="mend it")
    assert processes.reason_of(known) == str(known)
