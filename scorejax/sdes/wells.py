"""A process that ends in two wells instead of one: the worked example of a drift that is not affine."""

from __future__ import annotations

import math
from typing import Annotated

import jax.numpy as jnp
from annotated_types import Gt
from jax import Array
from jax.tree_util import Partial

from scorejax.numerics.ranges import Below1, Count, NonNegative, Positive
from scorejax.sdes.drifting import Drifting, Method, drifting
from scorejax.sdes.laws import independent


def double_well(
    separation: Below1 = 0.8,
    beta_min: NonNegative = 0.1,
    beta_max: Positive = 20.0,
    *,
    steps: Count = 100,
    method: Method = "heun",
    t_min: Annotated[float, Gt(0)] = 0.01,
) -> Drifting:
    """Return a diffusion into two wells in every coordinate, `dx = -(beta / 2) V'(x) dt + sqrt(beta) dw`.

        V(u) = u^2 / (2 s^2) - log cosh(m u / s^2),   m = separation,   s^2 = 1 - m^2,   beta(t) linear in t

    Its stationary law `exp(-V)` is `N(-m, s^2) / 2 + N(m, s^2) / 2`, of unit variance, and `separation=0` is VP with
    the same `beta`. The force `-V'` grows no faster than the distance, so that explicit steps are stable, as they are
    not in the textbook's `V = (u^2 - 1)^2`. The slowest mode of the memory of the data fades as
    `exp(-gap int beta / 2)`, with the gap 1.0, 0.97, 0.89, 0.56, 0.13 at the separations 0, 0.7, 0.8, 0.9, 0.95: the
    deeper the wells, the larger `beta_max` must be.

    Args:
        separation: `m`, where the wells lie; from 0 to less than 1.
        beta_min: `beta` at 0.
        beta_max: `beta` at 1.
        steps: of a simulation from the data to any time.
        method: of the simulation, see `drifting`.
        t_min: the time next to the data at which integrals stop.

    Raises:
        ValueError: on a separation outside [0, 1), or `beta` that is negative or zero throughout.
    """
    if not 0.0 <= separation < 1.0 or beta_min < 0.0 or beta_max <= 0.0:
        raise ValueError(
            "double_well needs 0 <= separation < 1, beta_min >= 0 and beta_max > 0, got "
            f"separation={separation}, beta_min={beta_min}, beta_max={beta_max}"
        )
    reach = separation + 10.0 * math.sqrt(1.0 - separation**2)
    return drifting(
        Partial(_fall, separation, beta_min, beta_max),
        Partial(_noise, beta_min, beta_max),
        prior=independent(Partial(_log_density, separation), -reach, reach),
        steps=steps,
        method=method,
        t_min=t_min,
    )


def _beta(beta_min: float | Array, beta_max: float | Array, t: Array) -> Array:
    return beta_min + (beta_max - beta_min) * t


def _noise(beta_min: float | Array, beta_max: float | Array, t: Array) -> Array:
    return jnp.sqrt(_beta(beta_min, beta_max, t))


def _fall(separation: float | Array, beta_min: float | Array, beta_max: float | Array, x: Array, t: Array) -> Array:
    variance = 1.0 - separation**2
    return -0.5 * _beta(beta_min, beta_max, t) * (x - separation * jnp.tanh(separation * x / variance)) / variance


def _log_density(separation: float | Array, u: Array) -> Array:
    variance = 1.0 - separation**2
    # the sum of two Gaussians, in the form that does not overflow far out
    return jnp.logaddexp(-0.5 * (u - separation) ** 2 / variance, -0.5 * (u + separation) ** 2 / variance)
