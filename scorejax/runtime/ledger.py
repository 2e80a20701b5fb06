"""Rows of results on disk, filled in order, so that a long computation goes on where it was cut off."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
from numpy.lib.format import open_memmap

_BLOCK = 1024  # rows copied at a time


class Ledger:
    """Named arrays `[rows, ...]` in a folder, and how many of their rows are done.

    The folder's name carries a digest of the settings, so results of other settings are never continued. A ledger can
    be opened again for more rows, and then goes on; or for fewer, and is done.

    Attributes:
        folder: where the arrays are, `NAME.npy` each.
        done: how many rows are.
    """

    def __init__(self, folder: str | Path, name: str, rows: int, settings: object) -> None:
        """Open, or continue, the ledger.

        Args:
            folder: where ledgers live.
            name: what is computed.
            rows: how many rows are wanted.
            settings: anything JSON-like that a row depends on.
        """
        # Processes that share a disk compute the same rows: each keeps its own.
        owner = f"-process-{jax.process_index()}" if jax.process_index() else ""
        self.folder = Path(folder) / f"{name}-{digest(settings)}{owner}"
        self.rows = rows
        self._arrays: dict[str, np.memmap] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._mark = self.folder / "done.json"
        self.done = json.loads(self._mark.read_text()) if self._mark.exists() else 0

    def write(self, first: int, end: int, results: dict[str, np.ndarray]) -> None:
        """Store rows `first .. end - 1` of every array; counted as done only when all of them are on disk."""
        for name, values in results.items():
            array = self._open(name, np.asarray(values))
            array[first:end] = values
            array.flush()
        partial = self._mark.with_suffix(".partial")
        partial.write_text(json.dumps(end))
        os.replace(partial, self._mark)
        self.done = end

    def fill(self, batches: Iterable[tuple[int, int, dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
        """Write every batch, then return the rows wanted, as arrays that stay on the disk (until `remove`)."""
        for first, end, results in batches:
            self.write(first, end, results)
        self._arrays.clear()
        return {path.stem: np.load(path, mmap_mode="r")[: self.rows] for path in sorted(self.folder.glob("*.npy"))}

    def remove(self) -> None:
        """Delete the folder, once the results are kept elsewhere."""
        self._arrays.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self, name: str, values: np.ndarray) -> np.memmap:
        if name not in self._arrays:
            path, shape = self.folder / f"{name}.npy", (self.rows, *values.shape[1:])
            if self.done == 0:
                self._arrays[name] = open_memmap(path, "w+", values.dtype, shape)
            else:
                _grow(path, self.rows)
                self._arrays[name] = open_memmap(path, "r+")
        return self._arrays[name]


def digest(settings: object) -> str:
    """Return twelve hexadecimal digits that differ when settings do."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _grow(path: Path, rows: int) -> None:
    """Give an array on disk at least `rows` rows."""
    old = np.load(path, mmap_mode="r")
    if len(old) >= rows:
        return
    partial = path.with_suffix(".partial")
    new = open_memmap(partial, "w+", old.dtype, (rows, *old.shape[1:]))
    for first in range(0, len(old), _BLOCK):
        end = min(first + _BLOCK, len(old))
        new[first:end] = old[first:end]
    new.flush()
    del old, new
    os.replace(partial, path)
