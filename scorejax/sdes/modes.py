"""What processes share that have a signal-to-noise ratio for every mode."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.sdes.float64 import evaluate
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


def check_process(sde: LinearSDE, n: int = 1000) -> None:
    """Refuse a process whose signal-to-noise ratio rises with time in some mode: none has such marginals.

    Args:
        sde: the forward process.
        n: times between `t_min` and `t_max` at which it is looked at, in float64.

    Raises:
        ValueError: it does, or a coefficient is not finite; the message names the mode and the times.
    """
    times = np.linspace(sde.t_min, sde.t_max, n)
    ratio = evaluate(type(sde).log_snr, sde, times).reshape(n, -1)
    if not np.all(np.isfinite(ratio)):
        i, k = np.argwhere(~np.isfinite(ratio))[0]
        raise ValueError(
            f"{type(sde).__name__}: the signal-to-noise ratio of mode {k} is not finite at t={times[i]:.6g}; alpha and "
            "sigma must be positive from t_min to t_max"
        )
    rise = np.diff(ratio, axis=0)
    if np.any(rise > 1e-8 * (1.0 + np.abs(ratio[1:]))):
        i, k = np.unravel_index(int(np.argmax(rise)), rise.shape)
        raise ValueError(
            f"{type(sde).__name__}: the signal-to-noise ratio of mode {k} rises between t={times[i]:.6g} and "
            f"t={times[i + 1]:.6g}, by {rise[i, k]:.3g} nats; noise that is there cannot be taken away by a diffusion: "
            "let alpha fall or sigma grow everywhere"
        )
