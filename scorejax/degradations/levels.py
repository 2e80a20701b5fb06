"""The time grid of degradations: whole levels from the last one to the data."""

from __future__ import annotations

import numpy as np

from scorejax.degradations.base import Degradation
from scorejax.sdes.corruption import Corruption


def levels(process: Corruption, n: int, *, t_min: float | None = None) -> np.ndarray:
    """Return the times of `n + 1` evenly spaced levels from the last one to the data, in float64.

    Args:
        process: a degradation.
        n: number of sampler steps; `process.levels` visits all of them, and one restores directly.
        t_min: the last time; 0, the data, if not given.

    Raises:
        ValueError: the process has no levels, or fewer than are to be visited.
    """
    if not isinstance(process, Degradation):
        raise ValueError(
            f"levels: the grid visits levels of a degradation, which {type(process).__name__} does not have; choose "
            "even or uniform"
        )
    total = process.levels
    last = 0 if t_min is None else round(t_min * total)
    if not 1 <= n <= total - last:
        raise ValueError(
            f"levels: this degradation has {total} levels, so that a sampler takes 1 to {total - last} steps from the "
            f"last of them to level {last}, got n={n}"
        )
    return np.round(np.linspace(total, last, n + 1)) / total
