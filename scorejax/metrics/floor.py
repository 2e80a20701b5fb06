"""What a perfect sampler would get: a measure between real examples and other real examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scorejax.metrics.features import Examples

MOST = 5000  # examples of a set that is measured pair by pair
_CHOICES = 5


class Floor(NamedTuple):
    """A measure of real examples against other real ones.

    Attributes:
        value: mean over some random choices of the examples.
        deviation: standard deviation over the choices: how far the number of a perfect sampler lies from `value`.
        n: examples that stood in for samples.
    """

    value: float
    deviation: float
    n: int


def floor(
    measure: Callable[[np.ndarray, np.ndarray], float], real: Examples, count: int, seed: int, *, most: int = MOST
) -> Floor:
    """Measure `count` real examples against as many or more others, or half against half if there are not enough.

    Args:
        measure: of two sets, the real one first.
        real: all real examples, `[N, ...]`; they may lie on a disk.
        count: number of samples.
        seed: of the choices.
        most: examples of each set, at most.
    """
    rng = np.random.default_rng(seed)
    few, values = min(count, len(real) // 2, most), []
    for _ in range(_CHOICES):
        order = rng.permutation(len(real))
        chosen, others = np.sort(order[:few]), np.sort(order[few : few + most])
        values.append(measure(np.asarray(real[others]), np.asarray(real[chosen])))
    return Floor(float(np.mean(values)), float(np.std(values, ddof=1)), few)


def some(examples: Examples, seed: int, *, most: int = MOST) -> np.ndarray:
    """Return at most so many of the examples, chosen at random, in memory."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(examples))[:most])
    return np.asarray(examples[chosen])
