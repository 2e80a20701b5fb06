"""Rows of results on disk, filled in order, so that a long computation goes on where it was cut off."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap


class Ledger:
    """Named arrays `[rows, ...]` in a folder, and how many rows are done.

    The folder's name carries a digest of the settings, so results of other settings are never continued.
    """

    def __init__(self, folder: str | Path, name: str, rows: int, settings: Any) -> None:
        """Open, or continue, the ledger.

        Args:
            folder: where ledgers live.
            name: what is computed.
            rows: how many rows there will be.
            settings: anything JSON-like that the results depend on.
        """
        digest = hashlib.sha256(json.dumps([rows, settings], sort_keys=True, default=str).encode()).hexdigest()[:12]
        self.folder = Path(folder) / f"{name}-{digest}"
        self.rows = rows
        self._arrays: dict[str, np.ndarray] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._mark = self.folder / "done.json"
        self.done = json.loads(self._mark.read_text()) if self._mark.exists() else 0

    def write(self, first: int, end: int, results: dict[str, np.ndarray]) -> None:
        """Store rows `first .. end - 1` of every array; counted as done only when all of them are on disk."""
        for name, values in results.items():
            array = self._open(name, values)
            array[first:end] = values
            array.flush()
        partial = self._mark.with_suffix(".partial")
        partial.write_text(json.dumps(end))
        os.replace(partial, self._mark)
        self.done = end

    def fill(self, batches: Iterable[tuple[int, int, dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
        """Write every batch, then return all rows."""
        for first, end, results in batches:
            self.write(first, end, results)
        return {path.stem: np.load(path) for path in sorted(self.folder.glob("*.npy"))}

    def remove(self) -> None:
        """Delete the folder, once the results are kept elsewhere."""
        self._arrays.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self, name: str, values: np.ndarray) -> Any:
        if name not in self._arrays:
            path, shape = self.folder / f"{name}.npy", (self.rows, *values.shape[1:])
            new = self.done == 0
            self._arrays[name] = open_memmap(path, "w+" if new else "r+", values.dtype if new else None, shape)
        return self._arrays[name]
