"""Which noise suits given data: the deviation, the levels in the middle, and the ends, by the variances of the data.

Data with the variances `lam` along their principal directions, with noise of the ratio `r`, keep the share
`mean lam / (lam + r^2)` of their numbers; a network learns most where that is neither 1 nor 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MOST_DIRECTIONS = 1024
"""Numbers of an example up to which the covariance itself is diagonalized."""
_ENOUGH = 10  # examples for each number, for that
_MOST_CHANNELS = 16  # whose correlation is taken into account, frequency by frequency
_BLOCK = 2**22  # numbers transformed at a time
_BETWEEN_TENTHS = 2.0 * 1.2815515655446004  # deviations of a normal law between its 10th and its 90th percentile


class DataLevels(NamedTuple):
    """What the data say of the noise, in units of the model.

    Attributes:
        sigma_data: root of the mean square of all numbers.
        mean: of `ln r` in training: where half of the data is kept.
        std: of `ln r`: such that a tenth is kept where a normal law with it has its 90th percentile, and so below.
        sigma_min: a fifth of the smallest deviation along any direction, but not below an eighth of the distance
            between two levels of counted numbers, nor below `0.002 sigma_data`.
        sigma_max: ten times the largest deviation, or distance of the mean from zero.
    """

    sigma_data: float
    mean: float
    std: float
    sigma_min: float
    sigma_max: float


def data_levels(variances: np.ndarray, *, center: np.ndarray | float = 0.0, quantum: float | None = None) -> DataLevels:
    """Return what the variances of data along their principal directions say of the noise.

    Args:
        variances: `[K]`, in units of the model; those that are zero count as numbers that do not vary.
        center: mean of the data, with any axes.
        quantum: distance between two levels of counted numbers.

    Raises:
        ValueError: a variance that is negative or not finite, or none above zero.
    """
    lam, mean = np.asarray(variances, np.float64).ravel(), np.asarray(center, np.float64)
    if not (lam.size and np.all(np.isfinite(lam)) and lam.min() >= 0.0 and lam.max() > 0.0):
        raise ValueError(f"the noise of data needs finite variances, at least one of them above zero, got {variances}")

    def log_ratio(kept: float) -> float:
        """Where so much of the numbers that vary is kept, by bisection."""
        low, high = 0.5 * math.log(some.min()) - 20.0, 0.5 * math.log(some.max()) + 20.0
        for _ in range(100):
            middle = 0.5 * (low + high)
            more = np.mean(some / (some + math.exp(2.0 * middle))) > kept
            low, high = (middle, high) if more else (low, middle)
        return 0.5 * (low + high)

    some = lam[lam > 1e-12 * lam.max()]
    sigma_data = math.sqrt(lam.mean() + np.mean(mean**2))
    least = max(0.2 * math.sqrt(some.min()), 0.002 * sigma_data, 0.0 if quantum is None else 0.128 * quantum)
    most = 10.0 * math.sqrt(max(some.max(), float(np.sum(mean**2))))
    tenths = log_ratio(0.1) - log_ratio(0.9)
    return DataLevels(sigma_data, log_ratio(0.5), tenths / _BETWEEN_TENTHS, least, most)


def principal_variances(x: np.ndarray, periodic: Sequence[bool] | None = None) -> np.ndarray:
    """Return estimates of the variances of examples along their principal directions.

    Of few numbers these are the eigenvalues of the covariance. Else, and for fields around circles, waves are taken for
    the directions, whose variances are those of the power spectrum, with a Hann window along sides that do not close.

    Args:
        x: examples `[N, D]` or `[N, *sides, C]` in units of the model, at least two.
        periodic: for each side, whether it closes to a circle.

    Returns:
        Variances, float64; their mean is about the mean variance of a number.

    Raises:
        ValueError: fewer than two examples, or numbers that are not finite.
    """
    x = np.asarray(x)
    if len(x) < 2 or not np.all(np.isfinite(x)):
        raise ValueError(
            f"variances need at least two examples of finite numbers, got {len(x)}"
            f"{'' if np.all(np.isfinite(x)) else ', some of them not finite'}"
        )
    sides, numbers = x.shape[1:-1], math.prod(x.shape[1:])
    closes = tuple(periodic or (False,) * len(sides))
    few = numbers <= MOST_DIRECTIONS and len(x) >= _ENOUGH * numbers and not any(closes)
    if few or not sides:
        rows = x.reshape(len(x), numbers).astype(np.float64)
        rows -= rows.mean(axis=0)
        if numbers <= len(x):
            return np.maximum(np.linalg.eigvalsh(rows.T @ rows / len(rows)), 0.0)
        found = np.maximum(np.linalg.eigvalsh(rows @ rows.T / len(rows)), 0.0)
        return np.concatenate([np.zeros(numbers - len(x)), found])
    return _of_waves(x, closes)


def _of_waves(x: np.ndarray, closes: Sequence[bool]) -> np.ndarray:
    """The variances of waves; of few channels those of their principal mixtures."""
    sides, channels, axes = x.shape[1:-1], x.shape[-1], tuple(range(1, x.ndim - 1))
    mean, window = x.mean(axis=0, dtype=np.float64), np.ones(sides)
    for axis, (side, circle) in enumerate(zip(sides, closes, strict=True)):
        if not circle and side > 2:
            hann = np.sin(math.pi * (np.arange(side) + 0.5) / side) ** 2
            shape = [1] * len(sides)
            shape[axis] = side
            window = window * (hann / math.sqrt(np.mean(hann**2))).reshape(shape)
    mixed = channels <= _MOST_CHANNELS
    total = np.zeros((*sides, channels, channels) if mixed else (*sides, channels), complex if mixed else float)
    step = max(1, _BLOCK // math.prod(x.shape[1:]))
    for start in range(0, len(x), step):
        waves = np.fft.fftn((x[start : start + step] - mean) * window[..., None], axes=axes, norm="ortho")
        if mixed:
            total += np.einsum("n...c,n...d->...cd", waves, waves.conj())
        else:
            total += np.sum(np.abs(waves) ** 2, axis=0)
    total /= len(x)
    return np.maximum(np.linalg.eigvalsh(total) if mixed else total, 0.0).ravel()
