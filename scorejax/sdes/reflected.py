"""Brownian motion in a box, reflected at its walls, which ends in the uniform law."""

from __future__ import annotations

import math
from typing import Annotated

import jax.numpy as jnp
from annotated_types import Gt
from jax import Array
from jax.tree_util import Partial

from scorejax.numerics.ranges import Count, Finite, Positive
from scorejax.sdes.drifting import Drifting, drifting
from scorejax.sdes.laws import independent


def reflected(
    low: Finite = -1.0,
    high: Finite = 1.0,
    *,
    sigma_min: Positive = 0.01,
    sigma_max: Positive = 3.0,
    steps: Count = 100,
    t_min: Annotated[float, Gt(0)] = 0.01,
) -> Drifting:
    """Return reflected Brownian motion in the box `[low, high]^D`, which the data must lie in (arXiv 2304.04740).

        dx = g dw with reflection,   int_0^t g^2 = s(t)^2 - s(0)^2,   s(t) = sigma_min (sigma_max / sigma_min)^t

    It is the process VE in a box: its prior is uniform, and its samples never leave the box. The slowest mode of the
    memory of the data fades as `exp(-(pi sigma_max / (high - low))^2 / 2)`, which is 1.5e-5 by default.

    Args:
        low: the lower wall of every coordinate, in the units of the model, in which images lie in [-1, 1].
        high: the upper wall.
        sigma_min: `s` at 0.
        sigma_max: `s` at 1.
        steps: of a simulation from the data to any time.
        t_min: the time next to the data at which integrals stop.

    Raises:
        ValueError: unless `low < high` and `0 < sigma_min < sigma_max`.
    """
    if not 0.0 < sigma_min < sigma_max:
        raise ValueError(f"reflected needs 0 < sigma_min < sigma_max, got {sigma_min}, {sigma_max}")
    return drifting(
        _still,
        Partial(_noise, sigma_min, math.log(sigma_max / sigma_min)),
        prior=independent(jnp.zeros_like, low, high),
        steps=steps,
        t_min=t_min,
        method="euler",
        bounds=(low, high),
    )


def _still(x: Array, t: Array) -> Array:
    return jnp.zeros_like(x)


def _noise(sigma_min: float | Array, log_ratio: float | Array, t: Array) -> Array:
    return sigma_min * jnp.exp(log_ratio * t) * jnp.sqrt(2.0 * log_ratio)
