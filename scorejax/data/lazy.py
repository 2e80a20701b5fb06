"""Examples that need not lie in memory: anything with a shape and a type that is asked for some of its rows."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

_BLOCK = 2**25  # bytes in memory at a time
Index: TypeAlias = np.ndarray | slice | int


@runtime_checkable
class Examples(Protocol):
    """An array of numpy, in memory or mapped from a file, or what behaves like one as far as rows go."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(N, ...)`."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """The type of its numbers."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray: ...


class Lazy(abc.ABC):
    """Rows that are read when they are asked for.

    Attributes:
        shape: `(N, ...)`.
        dtype: of the numbers.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    @abc.abstractmethod
    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of different numbers in ascending order."""

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of all of it in memory."""
        return self.size * self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Index) -> np.ndarray:
        """Return the rows of an index, in its order: a number, a slice, whole numbers, or a mask."""
        if isinstance(index, (int, np.integer)):
            return self[np.asarray([index])][0]
        rows = np.arange(len(self))[index]
        unique, inverse = np.unique(rows, return_inverse=True)
        found = self.read(unique) if len(unique) else np.empty((0, *self.shape[1:]), self.dtype)
        return found[inverse.reshape(rows.shape)]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        found = self[np.arange(len(self))]
        return found if dtype is None else found.astype(dtype)


class Converted(Lazy):
    """Rows of other examples, each block of them converted on its way."""

    def __init__(
        self, of: Examples, convert: Callable[[np.ndarray], np.ndarray], rows: np.ndarray | None = None
    ) -> None:
        """Keep what is read of; the shape and the type come from one converted row."""
        self._of, self._convert = of, convert
        self._rows = rows
        one = convert(np.asarray(of[np.asarray([0 if rows is None else rows[0]])]))
        self.shape = (len(of) if rows is None else len(rows), *one.shape[1:])
        self.dtype = one.dtype

    def read(self, rows: np.ndarray) -> np.ndarray:
        return self._convert(np.asarray(self._of[rows if self._rows is None else self._rows[rows]]))


def chosen(of: Examples, rows: np.ndarray) -> Examples:
    """Return some rows: a copy of an array in memory, else a view that reads them later."""
    if isinstance(of, np.ndarray) and not isinstance(_base(of), np.memmap):
        return of[rows]
    return Converted(of, lambda block: block, np.flatnonzero(rows) if rows.dtype == bool else rows)


def blocks(of: Examples, size: int | None = None) -> Iterator[np.ndarray]:
    """Yield all rows in order, some of them at a time; `size` rows, or as many as fit into a block."""
    each = max(1, of.nbytes // max(1, len(of)))
    step = max(1, _BLOCK // each) if size is None else size
    for first in range(0, len(of), step):
        if isinstance(of, np.ndarray):
            yield of[first : first + step]
        else:
            yield of[np.arange(first, min(first + step, len(of)))]


def _base(array: np.ndarray) -> object:
    """What the memory of an array belongs to."""
    found: object = array
    while isinstance(found, np.ndarray) and not isinstance(found, np.memmap) and found.base is not None:
        found = found.base
    return found
