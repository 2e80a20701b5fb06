"""TensorBoard's event files, without the thread of `tensorboardX.SummaryWriter`.

That thread ends without a word where the disk is full, and what goes on writing to it then waits for ever.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from scorejax.runtime.errors import os_errors

_SECONDS = 10.0  # at most so many of events are lost with the process


class Events:
    """One event file of a run."""

    def __init__(self, folder: Path, *, purge_step: int | None) -> None:
        """Begin a file.

        Args:
            folder: where event files lie; made if need be.
            purge_step: TensorBoard forgets what earlier files say of this step and later ones; None: nothing.

        Raises:
            RunError: it cannot be written.
        """
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]

        self._folder, self._event, self._flushed = folder, Event, 0.0
        with os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # The time in the name is in seconds; a run that resumes within one must not replace the file.
            self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.{time.time_ns()}")
            if purge_step is not None:
                start = SessionLog(status=SessionLog.START)
                self._writer.write_event(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def scalar(self, step: int, name: str, value: float) -> None:
        """Record a number."""
        from tensorboardX import summary

        self._write(step, summary.scalar(name, value))

    def image(self, step: int, name: str, page: np.ndarray) -> None:
        """Record a uint8 picture `[H, W, C]`."""
        from tensorboardX import summary

        self._write(step, summary.image(name, page, dataformats="HWC"))

    def close(self) -> None:
        """Write all that is left."""
        with os_errors(self._folder):
            self._writer.close()

    def _write(self, step: int, content: object) -> None:
        with os_errors(self._folder):
            self._writer.write_event(self._event(wall_time=time.time(), step=step, summary=content))
            if time.monotonic() - self._flushed > _SECONDS:
                self._flushed = time.monotonic()
                self._writer.flush()
