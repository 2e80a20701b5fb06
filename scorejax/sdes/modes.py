"""What processes share that have a signal-to-noise ratio for every mode."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.sdes.linear import LinearSDE


def inverse_mean_log_snr(sde: LinearSDE, log_snr: Array) -> Array:
    """Return the time at which the mean of the log signal-to-noise ratio over the modes has the given value.

    By bisection between 0 and `t_max`, as there is no closed form; to the last digit of the working precision.
    """
    log_snr = jnp.asarray(log_snr, jnp.result_type(float))
    digits = jnp.finfo(log_snr.dtype).nmant + 8  # times next to 0 keep some of theirs

    def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        above = sde.mean_log_snr(middle) > log_snr  # the ratio falls with time: the answer lies later
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low, high = jax.lax.fori_loop(0, digits, halve, (jnp.zeros_like(log_snr), jnp.full_like(log_snr, sde.t_max)))
    return 0.5 * (low + high)


FAINTEST = -15.0
"""Least `log alpha` of a mode. At 3e-7 of its strength a mode is noise to the last digit of float32; held there, it
stays the noise that it is, and predictions of the data, which divide by `alpha`, stay finite."""


def widened(t: Array, modes: np.ndarray | Array) -> Array:
    """Return times with the axes of a number per mode appended, so that both broadcast."""
    return t.reshape(t.shape + (1,) * jnp.ndim(modes))
