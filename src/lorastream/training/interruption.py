"""Signals that end a run wait until the step under way is done and its state is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

POSTPONED = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), as clusters do before they take a machine away."""

    exit_code = 128 + signal.SIGTERM


class Postponed:
    """As long as the context lasts, the first Ctrl-C or SIGTERM waits for `deliver`; a second one acts at once.

    A signal that nobody handles, as SIGTERM in a Python session, is left alone. Does nothing in a thread of its own.

    Args:
        active: false: it does nothing at all.
    """

    def __init__(self, *, active: bool = True) -> None:
        self.active = active
        self.asked: int | None = None
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __enter__(self) -> Self:
        """Take the signals over."""
        if self.active and threading.current_thread() is threading.main_thread():
            for number in POSTPONED:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *raised: object) -> None:
        """Give them back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if raised[0] is None:
            self.deliver()

    def deliver(self) -> None:
        """Let the signal that waited, if any, do what it does."""
        if self.asked is not None:
            asked, self.asked = self.asked, None
            self._handlers[asked](asked, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked is None:
            self.asked = number
            return
        self.asked = None
        self._handlers[number](number, frame)


@contextmanager
def ending_on_sigterm() -> Generator[None]:
    """Let SIGTERM raise `Terminated` as long as the context lasts; does nothing in a thread of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise_terminated(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
