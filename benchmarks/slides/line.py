"""The law of a Markov chain on the line after many steps, by quadrature: no samples, no standard errors.

The mixture of the slides has its two modes on the diagonal, and its score splits into a part along the diagonal and one
across it. The position along the diagonal is therefore a chain of its own, and its density
after a step is an integral over the density before:

    p'(v) = int p(u) N(v; m(u), s^2) du,    one step being u -> m(u) + s z
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Step = Callable[[np.ndarray, float], np.ndarray]
"""`step(u [n], z) -> [n]`: where a step takes points when its normal noise has the value `z`."""


def grid(reach: float, spacing: float) -> np.ndarray:
    """Points of the quadrature, which is exact to `exp(-2 (pi s / spacing)^2)` where a step's noise is `s`."""
    return np.arange(-reach, reach + spacing / 2, spacing)


def uniform_square(u: np.ndarray, side: float) -> np.ndarray:
    """The density along the diagonal of points that are uniform in the square `[-side, side]^2`: a triangle."""
    density = np.maximum(0.0, np.sqrt(2.0) * side - np.abs(u))
    return density / density.sum() / (u[1] - u[0])


def advance(u: np.ndarray, density: np.ndarray, step: Step, times: int, onto: np.ndarray | None = None) -> np.ndarray:
    """The density after as many equal steps, on the grid `onto`, which the first of them leads to."""
    onto = u if onto is None else onto
    density = _kernel(u, step, onto) @ density
    again = _kernel(onto, step, onto) if times > 1 else None
    for _ in range(times - 1):
        density = again @ density
    return density


def above(u: np.ndarray, density: np.ndarray) -> float:
    """The probability of `u > 0`."""
    return float(density[u > 0].sum() / density.sum())


def _kernel(u: np.ndarray, step: Step, onto: np.ndarray) -> np.ndarray:
    mean = np.asarray(step(u, 0.0), np.float64)
    std = float(np.mean(np.asarray(step(u, 1.0), np.float64) - mean))
    density = np.exp(-0.5 * ((onto[:, None] - mean[None, :]) / std) ** 2) / (std * np.sqrt(2.0 * np.pi))
    return density * (u[1] - u[0])
