"""Rows of results on disk, filled in order, so that a long computation goes on where it was cut off."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import jax
import numpy as np
from absl import logging
from numpy.lib import format as npy

from scorejax.runtime import lock
from scorejax.runtime.errors import RunError, os_errors
from scorejax.runtime.files import Json, checksum, read_json, replacing, reserve, write_json

_BLOCK = 2**24  # bytes read or copied at a time
_AGAIN = "its rows are computed again"


class Ledger:
    """Named arrays `[rows, ...]` in a folder, and how many of their rows are done.

    The folder's name carries a digest of the settings, so results of other settings are never continued. A ledger can
    be opened again for more rows, and then goes on; or for fewer, and is done. Rows are used again only if their
    checksum is right; if not, they are computed again.

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

        Raises:
            RunError: the folder cannot be written.
        """
        # Processes that share a disk compute the same rows: each keeps its own.
        owner = f"-process-{jax.process_index()}" if jax.process_index() else ""
        self.folder = Path(folder) / f"{name}-{digest(settings)}{owner}"
        self.rows = rows
        with os_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._path = self.folder / "done.json"
        self._mark = self._bytes()
        self.done, self._sums = self._verified()

    def write(self, first: int, end: int, results: dict[str, np.ndarray]) -> None:
        """Store rows `first .. end - 1` of every array; counted as done only when all of them are on disk.

        Raises:
            RunError: another process has written rows since the ledger was opened, or the disk takes no more.
        """
        with lock.held(self.folder):
            self._refuse_others()
            sums = {}
            for name, values in results.items():
                values = np.ascontiguousarray(values)
                path = self.folder / f"{name}.npy"
                with os_errors(path):
                    if not self.done:
                        _create(path, values, self.rows)
                    elif name in self._sums and _rows(path) < self.rows:
                        _grow(path, self.rows)
                    _put(path, first, values)
                sums[name] = checksum(values, self._sums.get(name, 0))
            by = f"process {os.getpid()} on {socket.gethostname()}"
            write_json(self._path, {"done": end, "checksums": sums, "by": by})
            self._mark, self.done, self._sums = self._bytes(), end, sums

    def fill(self, batches: Iterable[tuple[int, int, dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
        """Write every batch, then return the rows wanted, as arrays that stay on the disk (until `remove`)."""
        for first, end, results in batches:
            self.write(first, end, results)
        return {name: np.load(self.folder / f"{name}.npy", mmap_mode="r")[: self.rows] for name in self._sums}

    def remove(self) -> None:
        """Delete the folder, once the results are kept elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _verified(self) -> tuple[int, dict[str, int]]:
        """How many rows are done, and the checksums of the arrays; none if something of them is damaged."""
        if self._mark is None:
            return 0, {}
        try:
            mark: Json = read_json(self._path, dict, _AGAIN)
            done, sums = mark["done"], dict(mark["checksums"])
            if not isinstance(done, int) or done < 0 or not sums:
                raise ValueError(f"{done!r} rows of {len(sums)} arrays")
            for name, wanted in sums.items():
                if self._checksum(name, done) != wanted:
                    raise ValueError(f"the checksum of {name}.npy is wrong")
        except (RunError, ValueError, TypeError, KeyError, OSError) as error:
            reason = str(error) if isinstance(error, RunError) else f"{self.folder} is damaged: {error}; {_AGAIN}"
            logging.warning(reason)
            return 0, {}
        return done, sums

    def _checksum(self, name: str, rows: int) -> int:
        array = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        if len(array) < rows:
            raise ValueError(f"{name}.npy has {len(array)} rows of {rows}")
        total = 0
        for block in _blocks(array[:rows]):
            total = checksum(block, total)
        return total

    def _refuse_others(self) -> None:
        mark = self._bytes()
        if mark == self._mark:
            return
        try:
            by = json.loads(mark or b"")["by"]
        except (ValueError, TypeError, KeyError):
            by = "another process"
        raise RunError(
            f"{self.folder}: {by} has written rows there since this one began; leave the work to it, or give the same "
            "command again when it has ended"
        )

    def _bytes(self) -> bytes | None:
        with os_errors(self._path):
            return self._path.read_bytes() if self._path.exists() else None


def digest(settings: object) -> str:
    """Return twelve hexadecimal digits that differ when settings do."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]


# Arrays are written as files, and only read as maps: of a map, a full disk is a signal that ends the process.


def _create(path: Path, values: np.ndarray, rows: int) -> None:
    """An array of zeros with as many rows, like these, for which the disk has room."""
    with replacing(path) as partial, partial.open("wb") as file:
        _begin(file, values.dtype, (rows, *values.shape[1:]))


def _begin(file: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> None:
    npy.write_array_header_1_0(file, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    reserve(file, file.tell() + dtype.itemsize * int(np.prod(shape, dtype=np.int64)))


def _put(path: Path, first: int, values: np.ndarray) -> None:
    with path.open("rb+") as file:
        shape, _, dtype = _header(file)
        if shape[1:] != values.shape[1:] or dtype != values.dtype:
            raise RunError(f"{path} has rows {dtype}{shape[1:]}, got {values.dtype}{values.shape[1:]}; delete it")
        file.seek(first * values[:1].nbytes, os.SEEK_CUR)
        file.write(values.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    npy.read_magic(file)
    return npy.read_array_header_1_0(file)


def _rows(path: Path) -> int:
    with path.open("rb") as file:
        return _header(file)[0][0]


def _grow(path: Path, rows: int) -> None:
    """Give an array on disk as many rows."""
    old = np.load(path, mmap_mode="r")
    with replacing(path) as partial, partial.open("wb+") as file:
        _begin(file, old.dtype, (rows, *old.shape[1:]))
        file.seek(0)
        _header(file)
        for block in _blocks(old):
            file.write(block.tobytes())


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of an array, a few megabytes at a time."""
    count = max(1, _BLOCK // max(array[:1].nbytes, 1))
    return (array[first : first + count] for first in range(0, len(array), count))
