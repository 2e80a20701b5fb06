"""Arrays of the user's own in an HDF5 file, read from it as they are needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scorejax.data.arrays import Fraction, GrayCount, HeldOut, Reading, find_keys, read_split
from scorejax.data.dataset import Dataset
from scorejax.data.lazy import Examples, Lazy
from scorejax.data.missing import Missing
from scorejax.data.optional import needed
from scorejax.numerics.ranges import Positive


class Hdf5Array(Lazy):
    """A data set of an HDF5 file. Each process opens the file for itself."""

    def __init__(self, path: Path, name: str) -> None:
        """Read the shape and the type of the data set `name`."""
        self._path, self._name = path, name
        self._opened: tuple[int, Any] | None = None
        stored = self._stored()
        self.shape, self.dtype = tuple(stored.shape), np.dtype(stored.dtype)

    def read(self, rows: np.ndarray) -> np.ndarray:
        first, last = int(rows[0]), int(rows[-1])
        try:
            if last - first + 1 == len(rows):
                return np.asarray(self._stored()[first : last + 1])
            return np.asarray(self._stored()[rows])
        except OSError as error:
            raise ValueError(f"{self._path}: {self._name!r} cannot be read ({error}); write the file again.") from error

    def _stored(self) -> Any:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), opened(self._path)[self._name]
        return self._opened[1]


def opened(path: Path) -> Any:
    """Return the file, open for reading.

    Raises:
        ValueError: h5py is not installed, or no such file.
    """
    h5py = needed("h5py", "data = hdf5", "hdf5")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an HDF5 file: {' '.join(str(error).split())}.") from error


def parts(path: str | Path, suffixes: tuple[str, ...]) -> tuple[Path, str]:
    """Return a path as the file and the name behind a colon, `file.h5:group/x`; the name is empty without one.

    Raises:
        FileNotFoundError: no such file or folder.
    """
    whole = Path(path).expanduser()
    if whole.exists():
        return whole, ""
    file, colon, name = str(whole).rpartition(":")
    if colon and Path(file).exists():
        return Path(file), name.strip("/")
    there = "" if whole.is_absolute() else f" in {Path.cwd()}"
    raise FileNotFoundError(f"{str(whole)!r} is not there{there}; give the {' or '.join(suffixes)} file.")


def hdf5(
    split: str,
    *,
    path: str | Path,
    axes: str | None = None,
    gray_levels: GrayCount | None = None,
    quantum: Positive | None = None,
    groups: str | None = None,
    held_out: HeldOut = "every",
    test_fraction: Fraction = 0.1,
    missing: Missing = "refuse",
) -> Dataset:
    """Read arrays of an HDF5 file, as `npz` does those of its files, without copying them into memory.

    Args:
        split: "train" or "test", or the name of an array of validation examples.
        path: the file, `file.h5`, whose arrays are named as the keys of `npz`; or an array in it, `file.h5:fields/u`,
            or a group that holds such arrays.
        axes: as of `npz`; the first must be N.
        gray_levels: as of `npz`.
        quantum: as of `npz`.
        groups: the name of an array `[N]` next to `x`; examples of one group stay in one split.
        held_out: which of `x` is the test split: `every` k-th example or group, or the `last` ones.
        test_fraction: share of the test split where the file has none of its own.
        missing: what NaN in examples is: a mistake (refuse), or a number that is missing (nan).

    Raises:
        FileNotFoundError: no such file.
        ValueError: h5py is not installed, a damaged file, or arrays that are no examples.
    """
    where, name = parts(path, (".h5", ".hdf5"))
    file = opened(where)
    if name and name not in file:
        raise ValueError(f"{where} has no {name!r}; it holds {', '.join(file)}.")
    found = file[name] if name else file
    if hasattr(found, "shape"):
        stored: Mapping[str, Examples] = {"x": Hdf5Array(where, name)}
    else:
        prefix = f"{name}/" if name else ""
        stored = {key: Hdf5Array(where, prefix + key) for key in found if hasattr(found[key], "shape")}
    keys = find_keys(where, list(stored), groups)
    how = Reading(axes, gray_levels, quantum, groups, held_out, test_fraction, missing == "nan")
    return read_split(where, where.stem, split, stored, keys, how, "hdf5")
