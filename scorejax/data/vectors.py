"""Synthetic vectors whose law is known, made from a seed."""

import numpy as np

from scorejax.data.dataset import Dataset, check_split
from scorejax.numerics.ranges import NonNegative, Seed

TRAIN, TEST = 20_000, 2_000

GAUSSIAN_MEAN = np.array([0.5, -1.0, 0.0, 2.0])
_SPREAD = np.array([1.0, 0.5, 2.0, 0.25])
GAUSSIAN_COVARIANCE = np.outer(_SPREAD, _SPREAD) * 0.6 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
"""Standard deviations 1, 1/2, 2, 1/4 and correlations 0.6^|i-j|; its determinant is 0.64^3 / 16."""


def gaussian_entropy() -> float:
    """Return the differential entropy of the `gaussian` set in nats: `ln det(2 pi e C) / 2`."""
    return float(0.5 * np.linalg.slogdet(2 * np.pi * np.e * GAUSSIAN_COVARIANCE)[1])


def _generator(split: str, seed: int) -> np.random.Generator:
    """A stream of its own for each split, so that a test set is independent of the training set."""
    return np.random.default_rng([seed, int(split == "test")])


def gaussian(split: str, *, seed: Seed = 0) -> Dataset:
    """Draw from `N(GAUSSIAN_MEAN, GAUSSIAN_COVARIANCE)` in 4 dimensions: 20,000 train, 2,000 test.

    Args:
        split: "train" or "test".
        seed: of the draws; the splits are independent.
    """
    check_split("gaussian", split)
    noise = _generator(split, seed).standard_normal((TEST if split == "test" else TRAIN, 4))
    points = GAUSSIAN_MEAN + noise @ np.linalg.cholesky(GAUSSIAN_COVARIANCE).T
    return Dataset("gaussian", points.astype(np.float32))


def moons(split: str, *, seed: Seed = 0, noise: NonNegative = 0.05) -> Dataset:
    """Draw from two interleaved half circles of radius 1 with Gaussian noise: 20,000 train, 2,000 test.

    The upper arc is `(cos a, sin a)`, label 0, the lower `(1 - cos a, 1/2 - sin a)`, label 1, with `a` uniform on
    `[0, pi]`.

    Args:
        split: "train" or "test".
        seed: of the draws; the splits are independent.
        noise: standard deviation of what is added to each coordinate.
    """
    check_split("moons", split)
    generator = _generator(split, seed)
    count = TEST if split == "test" else TRAIN
    angle = generator.uniform(0, np.pi, count)
    labels = generator.integers(0, 2, count).astype(np.int32)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=-1)
    points = np.where(labels[:, None] == 0, upper, lower) + noise * generator.standard_normal((count, 2))
    return Dataset("moons", points.astype(np.float32), labels, num_classes=2, label_names=("upper", "lower"))
