"""Laws at the end of a process that are no Gaussians: independent coordinates, normalized by quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.host_arrays import host_array
from scorejax.numerics.trees import as_pytree, register_dataclass

_CELLS, _NODES = 4096, 8  # of the interval, and Gauss-Legendre nodes in each


class Law(Protocol):
    """What a process ends in: a law to draw from, with its density. Register a class of your own as a pytree."""

    def sample(self, keys: Array, shape: tuple[int, ...]) -> Array:
        """Draw samples of shape `(B, ...)`, each from its own of the keys `[B]` alone."""
        ...

    def log_prob(self, x: Array) -> Array:
        """Return the log density of points `[B, ...]`, in nats, `[B]`."""
        ...


@register_dataclass
@dataclass(frozen=True)
class Independent:
    """Coordinates independent of each other, each of the density `exp(log_density(u)) / Z` on `[low, high]`.

    Attributes:
        log_density: of one coordinate, up to a constant; maps an array number by number.
        log_z: the logarithm of `Z`.
        ends: the ends of the cells of a table, `[n + 1]`.
        cdf: the distribution function there, `[n + 1]`.
    """

    log_density: Callable[[Array], Array]
    log_z: float | Array
    ends: Array | np.ndarray = host_array()
    cdf: Array | np.ndarray = host_array()

    def sample(self, keys: Array, shape: tuple[int, ...]) -> Array:
        """Draw samples of shape `(B, ...)`, each from its own of the keys `[B]` alone."""
        u = keys_lib.uniform(keys, shape)
        # uniform within a cell, which is a 4096th of the interval
        return jnp.interp(u, jnp.asarray(self.cdf, u.dtype), jnp.asarray(self.ends, u.dtype))

    def log_prob(self, x: Array) -> Array:
        """Return the log density of points `[B, ...]`, in nats, `[B]`; minus infinity outside of the interval."""
        x = doors.points(x, finite=False)
        low, high = jnp.asarray(self.ends[0], x.dtype), jnp.asarray(self.ends[-1], x.dtype)
        inside = (low <= x) & (x <= high)
        each = jnp.where(inside, self.log_density(jnp.clip(x, low, high)) - self.log_z, -jnp.inf)
        return jnp.sum(each.reshape(x.shape[0], -1), axis=1)


def independent(log_density: Callable[[Array], Array], low: float, high: float) -> Independent:
    """Return the law of independent coordinates with a density that is known up to its normalizer.

        p(x) = prod_i exp(log_density(x_i)) / Z,   Z = int_low^high exp(log_density(u)) du

    `Z` and the distribution function are found by Gauss-Legendre quadrature in float64. The stationary law of
    `dx = -(g^2 / 2) V'(x) dt + g dw` in every coordinate has the log density `-V`. Its tails beyond the interval are
    cut off: choose it so wide that they hold less than a millionth.

    Args:
        log_density: maps an array number by number to log densities, up to a constant. Numbers of its own by
            `jax.tree_util.Partial(function, numbers)`.
        low: the lower end of the interval.
        high: its upper end.

    Raises:
        ValueError: unless `low < high`, both finite, and the log density is a number below infinity everywhere
            between them, and not minus infinity everywhere.
    """
    low, high = doors.interval((low, high), "independent: the interval")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"independent needs a finite interval, got ({low}, {high}); cut off tails that hold nothing")
    log_density = as_pytree(log_density)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    ends = np.linspace(low, high, _CELLS + 1)
    half = 0.5 * (high - low) / _CELLS
    u = (ends[:-1] + half)[:, None] + half * nodes
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        values = np.array(log_density(jnp.asarray(u)), np.float64)
    if values.shape != u.shape or np.isnan(values).any() or not np.max(values) < np.inf or np.max(values) == -np.inf:
        raise ValueError(
            "independent: log_density must map an array number by number to log densities below infinity, not all of "
            f"them minus infinity; on [{low:g}, {high:g}] it gave shape {values.shape} for {u.shape}, values from "
            f"{np.min(values):g} to {np.max(values):g}"
        )
    most = float(np.max(values))
    mass = half * (np.exp(values - most) @ weights)
    total = float(mass.sum())
    cdf = np.concatenate([[0.0], np.cumsum(mass) / total])
    return Independent(log_density, most + math.log(total), ends, cdf)
