"""Orthogonal matrices of one axis: cosines, sines, waves of a circle, the modes of a blur and of a random field.

Each is made in float64 from a few numbers that describe it, so that a basis holds no arrays and two equal bases are one
to a compiled program.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

Kernel: TypeAlias = Literal["exponential", "matern32", "matern52", "squared_exponential"]

KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exponential": lambda r: np.exp(-r),
    "matern32": lambda r: (1.0 + math.sqrt(3.0) * r) * np.exp(-math.sqrt(3.0) * r),
    "matern52": lambda r: (1.0 + math.sqrt(5.0) * r + 5.0 / 3.0 * r**2) * np.exp(-math.sqrt(5.0) * r),
    "squared_exponential": lambda r: np.exp(-0.5 * r**2),
}
"""Covariances of a stationary random field at distance `r` in units of its length (Rasmussen & Williams 2006, 4.2)."""


@dataclass(frozen=True)
class Axis:
    """An orthogonal basis of one axis.

    Attributes:
        name: `dct` (DCT-II), `dst` (DST-I), `dft` (the real Fourier basis), `gray` (three colors: their mean and two
            differences), `zero_blur` (the modes of a blur that sees zeros outside), `field` (the modes of a random
            field); `none`: coordinates are modes.
        numbers: of the blur, its standard deviation; of the field, its kernel and its length.
    """

    name: str = "none"
    numbers: tuple[str | float, ...] = ()

    def matrix(self, n: int) -> np.ndarray:
        """Return `U [n, n]` in float64; columns are the modes.

        Raises:
            ValueError: an axis of this length has no such basis.
        """
        return _decomposed(self, n)[1].view()

    def spectrum(self, n: int) -> np.ndarray:
        """Return a number `[n]` for each mode, in the order of the columns of `matrix`.

        Of cosines, sines and waves their angular frequency, in radians per sample; of the blur its eigenvalues, of the
        field the variances of its modes, with mean one; zeros for other bases.
        """
        return _decomposed(self, n)[0].view()


@functools.lru_cache(maxsize=64)
def _decomposed(axis: Axis, n: int) -> tuple[np.ndarray, np.ndarray]:
    return _AXES[axis.name](n, *axis.numbers)


def _none(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(n), np.eye(n)


def _dct(n: int) -> tuple[np.ndarray, np.ndarray]:
    frequency = np.pi * np.arange(n) / n
    waves = np.cos((np.arange(n)[:, None] + 0.5) * frequency)
    return frequency, waves / np.linalg.norm(waves, axis=0)


def _dst(n: int) -> tuple[np.ndarray, np.ndarray]:
    frequency = np.pi * np.arange(1, n + 1) / (n + 1)
    waves = np.sin(np.arange(1, n + 1)[:, None] * frequency)
    return frequency, waves / np.linalg.norm(waves, axis=0)


def _dft(n: int) -> tuple[np.ndarray, np.ndarray]:
    # 1, cos x, sin x, cos 2x, sin 2x, ...; for even n the last is the alternating sign, a cosine
    order = (np.arange(n) + 1) // 2
    angle = 2.0 * np.pi * np.arange(n)[:, None] * order / n
    waves = np.where(np.arange(n) % 2 == 1, np.cos(angle), np.where(order == 0, 1.0, np.sin(angle)))
    return 2.0 * np.pi * order / n, waves / np.linalg.norm(waves, axis=0)


def _gray(n: int) -> tuple[np.ndarray, np.ndarray]:
    if n != 3:
        raise ValueError(f"the basis 'gray' is of three colors, got an axis of {n}")
    # the mean of the colors first; QR keeps the directions of the columns up to sign
    q, r = np.linalg.qr(np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 0.0, -2.0]]))
    return np.zeros(3), q * np.sign(np.diag(r))


def _zero_blur(n: int, std: float) -> tuple[np.ndarray, np.ndarray]:
    taps = sampled_kernel(n, std)
    toeplitz = taps[np.abs(np.arange(n)[:, None] - np.arange(n)) + n - 1]
    values, modes = np.linalg.eigh(toeplitz)
    return values[::-1], modes[:, ::-1]


def _field(n: int, kernel: str, length: float) -> tuple[np.ndarray, np.ndarray]:
    distance = np.abs(np.arange(n)[:, None] - np.arange(n)) / length
    values, modes = np.linalg.eigh(KERNELS[kernel](distance))
    # rounding may leave the smallest below zero; a mode without any noise has no score
    values = np.maximum(values[::-1], 1e-6 * values[-1])
    return values / values.mean(), modes[:, ::-1]


_AXES: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "none": _none,
    "dct": _dct,
    "dst": _dst,
    "dft": _dft,
    "gray": _gray,
    "zero_blur": _zero_blur,
    "field": _field,
}


def sampled_kernel(n: int, std: float) -> np.ndarray:
    """Return a Gaussian at the integers from `1 - n` to `n - 1`, with sum one, `[2 n - 1]`."""
    taps = np.exp(-0.5 * (np.arange(1 - n, n) / std) ** 2)
    return taps / taps.sum()


def blur_eigenvalues(axis: Axis, n: int, kernel: str, std: float) -> np.ndarray:
    """Return the eigenvalues `[n]` of a Gaussian blur along an axis, in the order of the modes of its basis.

        heat:      exp(-w^2 std^2 / 2)           w the angular frequency of the mode
        sampled:   sum_j k_j cos(w j)            k_j the Gaussian at the integers, with sum one

    The second is exact where the matrix of the blur is diagonal in the basis: for cosines with reflection that repeats
    the edge, for waves of a circle, and for sines if only next neighbors count. Around a short circle the kernel wraps.

    Args:
        axis: the basis.
        n: length of the axis.
        kernel: `heat` or `sampled`; the modes of `zero_blur` are those of a sampled kernel.
        std: standard deviation of the Gaussian before it is sampled, in pixels.
    """
    if axis.name == "zero_blur":
        return axis.spectrum(n)
    if axis.name in ("none", "gray"):
        return np.ones(n)
    frequency = axis.spectrum(n)
    if kernel == "heat":
        return np.exp(-0.5 * (frequency * std) ** 2)
    return np.cos(frequency[:, None] * np.arange(1 - n, n)) @ sampled_kernel(n, std)
