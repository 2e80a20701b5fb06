"""Arrays of the user's own in a zarr store, read from it as they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scorejax.data.arrays import Fraction, GrayCount, HeldOut, Reading, find_keys, read_split
from scorejax.data.dataset import Dataset
from scorejax.data.hdf5 import parts
from scorejax.data.lazy import Examples, Lazy
from scorejax.data.missing import Missing
from scorejax.data.optional import needed
from scorejax.numerics.ranges import Positive


class ZarrArray(Lazy):
    """An array of a zarr store."""

    def __init__(self, stored: Any) -> None:
        """Read the shape and the type of the array."""
        self._stored = stored
        self.shape, self.dtype = tuple(stored.shape), np.dtype(stored.dtype)

    def read(self, rows: np.ndarray) -> np.ndarray:
        first, last = int(rows[0]), int(rows[-1])
        if last - first + 1 == len(rows):
            return np.asarray(self._stored[first : last + 1])
        return np.asarray(self._stored.oindex[rows])


def zarr(
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
    """Read arrays of a zarr store, as `npz` does those of its files, without copying them into memory.

    Args:
        split: "train" or "test", or the name of an array of validation examples.
        path: the store, `data.zarr`, whose arrays are named as the keys of `npz`; or an array in it, `data.zarr:u`, or
            a group that holds such arrays.
        axes: as of `npz`; the first must be N.
        gray_levels: as of `npz`.
        quantum: as of `npz`.
        groups: the name of an array `[N]` next to `x`; examples of one group stay in one split.
        held_out: which of `x` is the test split: `every` k-th example or group, or the `last` ones.
        test_fraction: share of the test split where the store has none of its own.
        missing: what NaN in examples is: a mistake (refuse), or a number that is missing (nan).

    Raises:
        FileNotFoundError: no such store.
        ValueError: zarr is not installed, a damaged store, or arrays that are no examples.
    """
    where, name = parts(path, (".zarr",))
    library = needed("zarr", "data = zarr", "zarr")
    try:
        found: Any = library.open(str(where), path=name or None, mode="r")
    except Exception as error:  # stores of all kinds raise errors of all kinds
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{where} cannot be read as a zarr store: {said}.") from error
    if hasattr(found, "shape"):
        stored: Mapping[str, Examples] = {"x": ZarrArray(found)}
    else:
        stored = {key: ZarrArray(array) for key, array in found.arrays()}
    keys = find_keys(where, list(stored), groups)
    how = Reading(axes, gray_levels, quantum, groups, held_out, test_fraction, missing == "nan")
    return read_split(where, where.stem, split, stored, keys, how, "zarr")
