"""Distances between draws and reference draws of one posterior, each with its standard error.

The distance between two sets of exact draws of the same sizes is the floor that it is to be held against.
"""

from __future__ import annotations

import math

import numpy as np

from scorejax.metrics.calibration.measured import Measured
from scorejax.metrics.features import check_features
from scorejax.metrics.sliced_wasserstein import sliced_wasserstein as sliced
from scorejax.metrics.two_sample_classifier import two_sample


def sliced_wasserstein(x: np.ndarray, y: np.ndarray, *, directions: int = 32, seed: int = 0) -> Measured:
    """Return the squared sliced 2-Wasserstein distance (`metrics.sliced_wasserstein`), biased upwards by few draws.

    Args:
        x: draws `[N, D]`.
        y: reference draws `[M, D]`.
        directions: random directions.
        seed: of the directions, and of the resampled sets that the standard error is the deviation of.
    """
    value = sliced(x, y, directions=directions, seed=seed)
    rng = np.random.default_rng(seed)
    again = [
        sliced(
            *(np.asarray(each)[rng.integers(len(each), size=len(each))] for each in (x, y)),
            directions=directions, seed=seed,
        )
        for _ in range(20)
    ]  # fmt: skip
    return Measured(value, float(np.std(again, ddof=1)))


def mmd(x: np.ndarray, y: np.ndarray, *, seed: int = 0) -> Measured:
    """Return the squared maximum mean discrepancy of a Gaussian kernel as wide as the median distance, unbiased.

    (Gretton et al. 2012, eq. 4.) About 0, and as often negative, for sets of one law.

    Args:
        x: draws `[N, D]`.
        y: reference draws `[M, D]`; the larger set is cut to the size of the smaller.
        seed: of the pairs that the median is taken of.

    Raises:
        ValueError: on shapes that do not match, or fewer than 2 of one.
    """
    check_features(x, y, 2)
    n = min(len(x), len(y))
    x, y = (np.asarray(each, np.float64)[:n] for each in (x, y))
    rng = np.random.default_rng(seed)
    both = np.concatenate([x, y])
    pairs = rng.integers(2 * n, size=(2, 10_000))
    squares = ((both[pairs[0]] - both[pairs[1]]) ** 2).sum(axis=1)
    width = float(np.median(squares[squares > 0])) if np.any(squares > 0) else 1.0

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        distance = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
        return np.exp(-np.maximum(distance, 0.0) / width)

    crossed = kernel(x, y)
    h = kernel(x, x) + kernel(y, y) - crossed - crossed.T
    np.fill_diagonal(h, 0.0)
    rows = h.sum(axis=1) / (n - 1)
    value = float(rows.mean())
    # variance of a U-statistic of order two: of its projections, without what pairs add to their means, and of pairs
    rest = max(float((h**2).sum() / (n * (n - 1)) - value**2), 0.0)
    projected = max(float(rows.var(ddof=1)) - rest / (n - 1), 0.0)
    variance = 4.0 / n * projected + 2.0 / (n * (n - 1)) * rest
    return Measured(value, math.sqrt(variance))


def c2st(x: np.ndarray, y: np.ndarray, *, epochs: int = 100, seed: int = 0) -> Measured:
    """Return how often a classifier tells draws from reference draws held out: 1/2 for draws of one law.

    That is `metrics.two_sample`, with as many of both.

    Args:
        x: draws `[N, D]`.
        y: reference draws `[M, D]`.
        epochs: passes over the draws, at most.
        seed: of the halves and of the classifier.

    Raises:
        ValueError: on shapes that do not match, or fewer than 10 of one.
    """
    found = two_sample(x, y, epochs=epochs, seed=seed)
    return Measured(found.accuracy, found.standard_error)
