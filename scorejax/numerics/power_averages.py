"""Averages of weights by power functions of time, and the average of any length out of snapshots of a few.

An average of the weights `theta` up to time `t` with exponent `g` (Karras et al., arXiv 2312.02696) is

    (g + 1) / t^(g + 1)  int_0^t tau^g theta(tau) d tau,

whose window has the same shape at every `t`: its standard deviation is a fixed share of `t`, the relative length

    s = sqrt((g + 1) / ((g + 2)^2 (g + 3))).

Windows of snapshots of two lengths at several times span those of other lengths well, so that the length is chosen
after the training. All of this is float64 on the host, because neighboring windows are nearly parallel.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

LONGEST = 12**-0.5
"""The relative length of the plain mean, `g = 0`."""


def exponent(length: float) -> float:
    """Return the exponent `g` of a relative length `s`: the largest root of `s^2 (g + 2)^2 (g + 3) = g + 1`.

    Raises:
        ValueError: a length that is not above 0, or beyond that of the plain mean.
    """
    if not 0 < length <= LONGEST:
        raise ValueError(f"the relative length of an average lies above 0 and up to {LONGEST:.4f}, got {length}")
    inverse = float(length) ** -2
    return float(np.max(np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse]).real))


def length(exponent: float) -> float:
    """Return the relative length of an exponent."""
    return float(np.sqrt((exponent + 1) / ((exponent + 2) ** 2 * (exponent + 3))))


def newest_share(exponent: float, step: Array | np.ndarray | int) -> Array:
    """Return the share of the newest weights in an average at step `n = 1, 2, ...`: `1 - (1 - 1/n)^(g + 1)`.

    At the first step it is 1, so that what the average began with is forgotten.
    """
    # a power of a float32 next to 1 would lose all digits of long trainings
    return -jnp.expm1((exponent + 1.0) * jnp.log1p(-1.0 / jnp.asarray(step, jnp.float32)))


def overlap(g: ArrayLike, t: ArrayLike, other_g: ArrayLike, other_t: ArrayLike) -> np.ndarray:
    """Return the inner products `int p q d tau` of the windows `p` of exponents `g` at times `t`, pair by pair."""
    g, t, other_g, other_t = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (g, t, other_g, other_t)))
    later = np.where(t > other_t, g, other_g)
    low, high = np.minimum(t, other_t), np.maximum(t, other_t)
    return (g + 1) * (other_g + 1) / (g + other_g + 1) * (low / high) ** later / high


def combination(lengths: Sequence[float], times: Sequence[float], target: float, at: float | None = None) -> np.ndarray:
    """Return the factors, of sum 1, by which snapshots add up to the average of another length, `[K]`.

    They minimize the squared distance of the windows, and are then scaled to sum 1.

    Args:
        lengths: the relative length of each snapshot, `[K]`.
        times: its time, in steps.
        target: the relative length that is wanted.
        at: at which time; the last of the snapshots' if not given.

    Raises:
        ValueError: no snapshots, or a length out of range.
    """
    if not len(lengths) or len(lengths) != len(times):
        raise ValueError(f"one length and one time of each snapshot are wanted, got {len(lengths)} and {len(times)}")
    found = {value: exponent(value) for value in {*lengths}}
    g, t = np.array([found[value] for value in lengths]), np.asarray(times, np.float64)
    goal_g, goal_t = np.float64(exponent(target)), np.float64(max(times) if at is None else at)
    between = overlap(g[:, None], t[:, None], g[None], t[None])
    x, *_ = np.linalg.lstsq(between, overlap(g, t, goal_g, goal_t), rcond=1e-15)
    return x / np.sum(x)


def misfit(lengths: Sequence[float], times: Sequence[float], factors: np.ndarray, target: float, at: float) -> float:
    """Return how far a combination of windows is from the one that is wanted, relative to the norm of that."""
    g, t = np.array([exponent(value) for value in lengths]), np.asarray(times, np.float64)
    goal_g, goal_t = np.float64(exponent(target)), np.float64(at)
    own = overlap(goal_g, goal_t, goal_g, goal_t)
    between = factors @ overlap(g[:, None], t[:, None], g[None], t[None]) @ factors
    square = between - 2 * factors @ overlap(g, t, goal_g, goal_t) + own
    return float(np.sqrt(max(0.0, float(square / own))))
