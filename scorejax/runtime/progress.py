"""How far a run is, and how fast: a bar on a terminal, plain log lines elsewhere."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import SupportsFloat, TextIO

from absl import logging

_BAR = 24


def clock(seconds: float) -> str:
    """Write seconds as `42s`, `3m05s` or `2h07m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


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
        images_per_step: int = 0,
        interval: float = 10.0,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Start the clock.

        Args:
            total: step at which the run ends.
            start: step it starts, or resumes, from.
            images_per_step: batch size; 0 leaves images/s out.
            interval: least seconds between two log lines (a terminal's bar moves at every update).
            stream: where the bar goes, if it is a terminal: default standard error.
            now: the clock, in seconds.
        """
        self.total, self.images_per_step, self.interval = total, images_per_step, interval
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
        parts = [f"{'█' * filled}{'░' * (_BAR - filled)} {self._step}/{self.total}"]
        speed = self.steps_per_second
        if speed:
            parts.append(f"{speed:.3g} steps/s")
            if self.images_per_step:
                parts.append(f"{speed * self.images_per_step:.3g} images/s")
            parts.append(f"{clock((self.total - self._step) / speed)} left")
        elif self.first_seconds is not None:
            parts.append(f"first {self._step - self._start} steps with compilation {clock(self.first_seconds)}")
        parts += [f"{name} {float(value):.4g}" for name, value in (values or {}).items()]
        return "  ".join(parts)
