"""The record of a run: metrics.jsonl, TensorBoard events and PNG files."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np

from scorejax.pictures.images import write_png

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
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:  # the run was cut off within this line
            continue
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
        self.workdir.mkdir(parents=True, exist_ok=True)
        self._rewind(resume_step)
        self._file = (self.workdir / _LOG).open("a")
        if tensorboard:
            from tensorboardX import SummaryWriter

            purge = None if resume_step is None else resume_step + 1
            self._events = SummaryWriter(str(self.workdir / "tensorboard"), purge_step=purge)

    def _rewind(self, resume_step: int | None) -> None:
        """Rewrite the log without later steps and without a line that was cut off; atomic, as it may be long."""
        path = self.workdir / _LOG
        if not path.exists():
            return
        kept = [r for r in read_log(self.workdir) if resume_step is None or r.get("step", 0) <= resume_step]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(record) + "\n" for record in kept))
        os.replace(partial, path)

    def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Record numbers (Python, numpy or 0-d arrays) of one step."""
        if not self.active:
            return
        plain = {name: _plain(value) for name, value in values.items()}
        self._file.write(json.dumps({"step": int(step), **plain}) + "\n")
        self._file.flush()
        if self._events:
            for name, value in plain.items():
                self._events.add_scalar(name, float(value), int(step))

    def image(self, step: int, name: str, page: np.ndarray) -> None:
        """Record a uint8 picture `[H, W, C]`, C = 1 or 3 (a `grid`, say)."""
        if not self.active:
            return
        write_png(self.workdir / "samples" / f"{name}-{int(step):08d}.png", page)
        if self._events:
            self._events.add_image(name, page, int(step), dataformats="HWC")

    def close(self) -> None:
        """Flush and close all files."""
        if self.active:
            self._file.close()
            if self._events:
                self._events.close()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
