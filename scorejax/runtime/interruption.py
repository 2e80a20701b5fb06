"""Signals that end a run: a request that the training loop honors at its next step, and at once everywhere else."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType

_SIGHUP = getattr(signal, "SIGHUP", None)  # Windows has none
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([_SIGHUP] if _SIGHUP else []))


class Stopped(KeyboardInterrupt):
    """A signal that ends the program, with its name."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.name = signal.Signals(number).name


def exit_code(name: str) -> int:
    """What a shell expects of a program that a signal ended: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + signal.Signals[name]


def name_signals() -> None:
    """From now on a signal raises `Stopped`, which knows its name."""
    for number in _caught():
        signal.signal(number, _stop)


class Interruption:
    """While entered, the first signal only sets `requested`; a second one ends the program at once.

    Attributes:
        requested: name of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # others cannot set handlers
            self._before = {number: signal.signal(number, self._handle) for number in _caught()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            _stop(number, frame)
        self.requested = signal.Signals(number).name
        text = f"{self.requested}: the state is saved after the steps in flight; a second signal ends at once\n"
        with contextlib.suppress(OSError):  # the terminal may be gone, which is what SIGHUP means
            os.write(2, text.encode())  # unlike a log, it cannot meet itself half-way through a line


def _caught() -> list[signal.Signals]:
    """The signals to act on: under nohup a hangup is to be ignored."""
    return [number for number in SIGNALS if number != _SIGHUP or signal.getsignal(number) != signal.SIG_IGN]


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)
