"""Columns whose examples float32 cannot tell apart, found before they are all equal."""

import numpy as np

from scorejax.data.space import moments

_MOST = 1e-3  # of a column's standard deviation: the rounding error that a model does not see
_LEAST = float(np.finfo(np.float32).tiny)  # devices see 0 in place of smaller numbers
_CONSTANT = 1e-14  # of a column's largest value: a spread that float64 itself made by rounding


def lost(stored: np.ndarray, rounded: np.ndarray) -> tuple[str, str] | None:
    """Return the first column that is lost in float32, and words for why and what to do; or None.

    Args:
        stored: vectors `[N, D]` of any float type.
        rounded: the same in float32.
    """
    mean, variance = moments(stored)
    deviation = np.sqrt(variance)
    low, high = (np.asarray(of(stored, axis=0), np.float64) for of in (np.min, np.max))
    error = np.asarray([_error(stored[:, i], rounded[:, i]) for i in range(stored.shape[1])])
    varies = high - low > _CONSTANT * np.maximum(abs(low), abs(high))
    found = varies & (error > _MOST * deviation)
    if not found.any():
        return None
    i = int(np.argmax(found))
    if error[i] > _LEAST:
        why, do = f"so far from 0 (mean {mean[i]:.3g}, deviation {deviation[i]:.3g})", "subtract the mean"
    else:
        largest = max(abs(low[i]), abs(high[i]))
        why, do = f"so close to 0 (the largest is {largest:.3g})", f"divide by {largest:.3g}"
    return f"column {i}", f"its values lie {why} that float32 cannot tell them apart; {do}"


def _error(stored: np.ndarray, rounded: np.ndarray) -> float:
    """The rounding error of a column, in the root mean square."""
    if stored.dtype.itemsize <= rounded.dtype.itemsize:
        return _LEAST
    error = stored.astype(np.float64) - rounded
    return max(float(np.sqrt(np.mean(np.square(error)))), _LEAST)
