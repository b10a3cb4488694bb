"""A signal that would end a run waits for the state; a second one does not wait."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from lorastream.training.interruption import Postponed, Terminated, ending_on_sigterm


def test_ctrl_c_waits_until_it_is_delivered() -> None:
    reached: list[str] = []
    with Postponed() as signals:
        signals.deliver()
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("went on")
        assert signals.asked == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signals.deliver()
    assert reached == ["went on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_acts_at_once() -> None:
    with Postponed():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_nobody_delivered_is_delivered_at_the_end_but_hides_no_error() -> None:
    with pytest.raises(KeyboardInterrupt), Postponed():
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(ZeroDivisionError), Postponed():
        _ = os.kill(os.getpid(), signal.SIGINT) or 1 / 0


def test_sigterm_ends_with_143_and_is_left_alone_where_nobody_handles_it() -> None:
    assert Terminated.exit_code == 143
    with Postponed():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with ending_on_sigterm(), Postponed() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Terminated):
            signals.deliver()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_switched_off_and_in_a_thread_it_does_nothing() -> None:
    with Postponed(active=False), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            with ending_on_sigterm(), Postponed() as signals:
                signals.deliver()
        except BaseException as error:  # noqa: BLE001 (whatever it is, the test shows it)
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert raised == []
