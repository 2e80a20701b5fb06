"""Numbers that are counted: values `lo + quantum k` for whole `k = 0 ... count - 1`, such as those of any integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorejax.data.lazy import Examples, blocks

MOST = 2**24
"""Most levels that float32 can hold exactly; integers of a wider range are read as floating numbers."""
_CLOSE = 1e-3  # of a quantum: how far a floating number may lie from its level


@dataclass(frozen=True)
class Levels:
    """The values that a number may have.

    Attributes:
        lo: the smallest.
        count: how many there are.
        quantum: the distance between neighbors.

    Raises:
        ValueError: fewer than two, more than `MOST`, or a quantum that is not above zero.
    """

    lo: float
    count: int
    quantum: float = 1.0

    def __post_init__(self) -> None:
        if not (2 <= self.count <= MOST and self.quantum > 0 and np.isfinite(self.lo) and np.isfinite(self.quantum)):
            raise ValueError(
                f"lo = {self.lo}, count = {self.count}, quantum = {self.quantum}: counted numbers need 2 to {MOST:,} "
                "levels, and a quantum above zero"
            )

    @property
    def hi(self) -> float:
        """The largest value."""
        return self.lo + self.quantum * (self.count - 1)

    def index(self, values: np.ndarray, what: str = "x") -> np.ndarray:
        """Return the numbers of the levels of values, int32 of the same shape.

        Raises:
            ValueError: a value outside the range, or between two levels.
        """
        values = np.asarray(values)
        if not values.size:
            return values.astype(np.int32)
        low, high = values.min(), values.max()
        if not self.lo - _CLOSE * self.quantum <= low <= high <= self.hi + _CLOSE * self.quantum:
            bad = low if low < self.lo else high
            raise ValueError(
                f"{what} holds {bad}, but the training data lie between {_shown(self.lo)} and {_shown(self.hi)}: no "
                "probability is learned of a level outside of them; leave such examples out, or train on data of the "
                "whole range"
            )
        if values.dtype.kind in "iub" and self.quantum == 1:
            return (values.astype(np.int64) - int(self.lo)).astype(np.int32)
        exact = (values.astype(np.float64) - self.lo) / self.quantum
        found = np.rint(exact)
        if (far := np.abs(exact - found)).max() > _CLOSE:
            bad = values.flat[int(far.argmax())]
            raise ValueError(
                f"{what} holds {bad}, which lies between two multiples of the quantum {_shown(self.quantum)} above "
                f"{_shown(self.lo)}; set data.quantum to the distance between neighboring values, or leave it unset"
            )
        return found.astype(np.int32)

    def values(self, index: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return the values of levels, in the type of the user."""
        if dtype.kind in "iub" and self.quantum == 1:
            return (np.asarray(index, np.int64) + int(self.lo)).astype(dtype)
        found = self.lo + self.quantum * np.asarray(index, np.float64)
        return (np.rint(found) if dtype.kind in "iub" else found).astype(dtype)


def extremes(arrays: Examples) -> tuple[float, float]:
    """Return the smallest and the largest number of an array, a block at a time; those that are not numbers apart."""
    low, high = [], []
    for block in blocks(arrays):
        low.append(np.nanmin(block) if block.dtype.kind == "f" else block.min())
        high.append(np.nanmax(block) if block.dtype.kind == "f" else block.max())
    return min(low), max(high)


def levels_of(arrays: list[Examples], quantum: float | None = None, what: str = "x") -> Levels | None:
    """Return the levels of integers over several arrays, or of floating numbers with a quantum; None beyond `MOST`.

    Raises:
        ValueError: a quantum that makes too many levels.
    """
    step = 1.0 if quantum is None else float(quantum)
    ranges = [extremes(array) for array in arrays]
    low, high = min(each[0] for each in ranges), max(each[1] for each in ranges)
    exact = all(array.dtype.kind in "iub" for array in arrays) and step == 1
    span = int(high) - int(low) if exact else round((float(high) - float(low)) / step)
    count = max(2, span + 1)
    if count > MOST:
        if quantum is None:
            return None
        raise ValueError(
            f"{what} runs from {_shown(low)} to {_shown(high)}: with data.quantum = {quantum} those are {count:,} "
            f"levels, more than {MOST:,}; leave data.quantum unset, and the numbers are taken for densities"
        )
    found = Levels(float(low), count, step)
    if quantum is not None:
        for array in arrays:
            for block in blocks(array):
                found.index(block, what)
    return found


def _shown(value: float) -> str:
    return f"{float(value):.10g}"
