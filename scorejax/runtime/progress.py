"""How far a run is, and how fast: a bar on a terminal, plain log lines elsewhere."""

import contextlib
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import SupportsFloat, TextIO

from absl import logging

_BAR = 24
_QUIET = threading.Event()


def clock(seconds: float) -> str:
    """Write seconds as `42s`, `3m05s` or `2h07m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Show neither progress nor log lines nor warnings of what is done inside; errors pass."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    _QUIET.set()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        _QUIET.clear()
        logging.set_verbosity(before)


@contextlib.contextmanager
def patience(what: str, every: float = 30.0) -> Iterator[None]:
    """Say every so many seconds that something still goes on which has no steps to be counted, such as compiling."""
    began, over = time.perf_counter(), threading.Event()

    def say() -> None:
        while not over.wait(every):
            logging.info("%s: still at work, %s so far", what, clock(time.perf_counter() - began))

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _rate(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


class Progress:
    """Counts steps and reports speed, with the first call (compilation) kept apart from the steady state.

    Attributes:
        first_seconds: duration up to the first `update`, which includes compiling; None before it.
    """

    def __init__(
        self,
        total: int,
        *,
        start: int = 0,
        what: str = "",
        counted: str = "steps",
        examples_per_step: int = 0,
        examples: str = "images",
        interval: float = 10.0,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Start the clock.

        Args:
            total: step at which the run ends.
            start: step it starts, or resumes, from.
            what: what is done, which begins each line.
            counted: what is counted, for the speed.
            examples_per_step: batch size; 0 leaves their number per second out.
            examples: what they are called.
            interval: least seconds between two log lines (a terminal's bar moves at every update).
            stream: where the bar goes, if it is a terminal: default standard error.
            now: the clock, in seconds.
        """
        self.total, self.interval, self._what = total, interval, what
        self._counted, self._examples_per_step, self._examples = counted, examples_per_step, examples
        self.first_seconds: float | None = None
        self._start, self._step, self._now, self._stream = start, start, now, stream or sys.stderr
        self._began = self._last = self._reported = now()
        self._steady_from = start

    @property
    def steps_per_second(self) -> float:
        """Speed since the first update, without compilation; 0 until there is a second one."""
        elapsed = self._last - self._began
        return (self._step - self._steady_from) / elapsed if elapsed > 0 and self._step > self._steady_from else 0.0

    def update(self, step: int, values: Mapping[str, SupportsFloat] | None = None) -> None:
        """Say that `step` is done (its results are ready, not only dispatched) and show `values` next to the bar."""
        self._step, self._last = step, self._now()
        first = self.first_seconds is None
        if first:
            self.first_seconds = self._last - self._began
            self._began, self._steady_from = self._last, step
        if _QUIET.is_set():
            return
        line = self.line(values)
        if self._stream.isatty():
            self._stream.write("\r\x1b[2K" + line + ("\n" if step >= self.total else ""))
            self._stream.flush()
        elif first or step >= self.total or self._last - self._reported >= self.interval:
            self._reported = self._last
            logging.info(line)

    def line(self, values: Mapping[str, SupportsFloat] | None = None) -> str:
        """Return the current state in one line."""
        done = self._step / self.total if self.total else 1.0
        filled = int(_BAR * min(done, 1.0))
        parts = [f"{self._what} {'█' * filled}{'░' * (_BAR - filled)} {self._step}/{self.total}".lstrip()]
        speed = self.steps_per_second
        if speed:
            parts.append(f"{_rate(speed)} {self._counted}/s")
            if self._examples_per_step:
                parts.append(f"{_rate(speed * self._examples_per_step)} {self._examples}/s")
            parts.append(f"{clock((self.total - self._step) / speed)} left")
        elif self.first_seconds is not None:
            parts.append(f"compiled, and the first {self._step - self._start} done, in {clock(self.first_seconds)}")
        parts += [f"{name} {float(value):.4g}" for name, value in (values or {}).items()]
        return "  ".join(parts)
