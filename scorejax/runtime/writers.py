"""The record of a run: metrics.jsonl, TensorBoard events and PNG files."""

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
from absl import logging

from scorejax.pictures.images import write_png
from scorejax.runtime.errors import RunError, os_errors
from scorejax.runtime.files import replacing
from scorejax.runtime.tensorboard import Events

_LOG = "metrics.jsonl"


def _plain(value: SupportsFloat) -> float | int | str:
    """A JSON number; JSON has none for NaN and infinities, so these become text that `float()` reads back."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else str(number)


def read_log(workdir: str | Path) -> list[dict[str, Any]]:
    """Return all complete records of a run's metrics.jsonl, in order; none if there is no such file."""
    path = Path(workdir) / _LOG
    with os_errors(path):
        lines = path.read_bytes().splitlines() if path.exists() else []
    records, damaged = [], 0
    for number, line in enumerate(lines):
        try:
            record = json.loads(line)
            int(record["step"])
            records.append(record)
        except (ValueError, TypeError, KeyError, RecursionError):
            damaged += number < len(lines) - 1  # the last one is where a run was cut off
    if damaged:
        logging.warning("%s is damaged: %d of its %d lines are no records, and are left out", path, damaged, len(lines))
    return records


class Writer:
    """Writes numbers and images of a run into one folder.

    Numbers go to `metrics.jsonl`, one object per line with a `step`, flushed at once, and to TensorBoard; images go to
    `samples/NAME-STEP.png` and to TensorBoard.
    """

    def __init__(
        self, workdir: str | Path, *, resume_step: int | None = None, tensorboard: bool = True, active: bool = True
    ) -> None:
        """Open the folder's log for appending.

        Args:
            workdir: folder of the run; made if need be.
            resume_step: the step a training run continues from, 0 for a fresh one: records of later steps, which it
                will write again, are dropped, so no step is logged twice. None: keep everything.
            tensorboard: also write event files.
            active: False on all but one process: then nothing is written.
        """
        self.workdir = Path(workdir)
        self.active = active
        self._events = None
        if not active:
            return
        with os_errors(self.workdir / _LOG):
            self.workdir.mkdir(parents=True, exist_ok=True)
            self._rewind(resume_step)
            self._file = (self.workdir / _LOG).open("a")
        if tensorboard:
            purge = None if resume_step is None else resume_step + 1
            self._events = Events(self.workdir / "tensorboard", purge_step=purge)

    def _rewind(self, resume_step: int | None) -> None:
        """Rewrite the log without later steps and without a line that was cut off; atomic, as it may be long."""
        path = self.workdir / _LOG
        if not path.exists():
            return
        kept = [r for r in read_log(self.workdir) if resume_step is None or int(r["step"]) <= resume_step]
        with replacing(path) as partial:
            partial.write_text("".join(json.dumps(record) + "\n" for record in kept))

    def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Record numbers (Python, numpy or 0-d arrays) of one step."""
        if not self.active:
            return
        plain = {name: _plain(value) for name, value in values.items()}
        with os_errors(self.workdir / _LOG):
            self._file.write(json.dumps({"step": int(step), **plain}) + "\n")
            self._file.flush()
        if self._events:
            for name, value in plain.items():
                self._events.scalar(int(step), name, float(value))

    def image(self, step: int, name: str, page: np.ndarray) -> None:
        """Record a uint8 picture `[H, W, C]`, C = 1 or 3 (a `grid`, say)."""
        if not self.active:
            return
        with replacing(self.workdir / "samples" / f"{name}-{int(step):08d}.png") as path:
            write_png(path, page)
        if self._events:
            self._events.image(int(step), name, page)

    def close(self) -> None:
        """Flush and close all files."""
        if self.active:
            with os_errors(self.workdir / _LOG):
                self._file.close()
            if self._events:
                self._events.close()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # What ended the run is worth more than that the last lines could not be written either.
        with contextlib.suppress(RunError) if kind else contextlib.nullcontext():
            self.close()
