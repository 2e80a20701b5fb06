"""Time grids: decreasing arrays of `n + 1` times for `n` sampler steps."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from scorejax.sdes.linear import LinearSDE


def uniform(sde: LinearSDE, n: int, *, t_min: float | None = None) -> Array:
    """Return `n + 1` equally spaced times from `sde.t_max` down to `t_min` (default `sde.t_min`).

    For a chain of N levels, `uniform(sde, N - 1)` visits every level.

    Raises:
        ValueError: if `n < 1` or `t_min` is not inside the process's times.
    """
    return jnp.linspace(sde.t_max, _end(sde, n, t_min), n + 1)


def quadratic(sde: LinearSDE, n: int, *, t_min: float | None = None) -> Array:
    """Return times equally spaced in `sqrt(t)`: finer steps near the data.

    Raises:
        ValueError: if `n < 1` or `t_min` is not inside the process's times.
    """
    end = _end(sde, n, t_min)
    return (jnp.linspace(sde.t_max**0.5, end**0.5, n + 1) ** 2).at[0].set(sde.t_max).at[-1].set(end)


def log_snr(sde: LinearSDE, n: int, *, t_min: float | None = None) -> Array:
    """Return times equally spaced in the log signal-to-noise ratio (DPM-Solver, arXiv 2206.00927).

    Raises:
        ValueError: if `n < 1` or `t_min` is not inside the process's times.
    """
    end = _end(sde, n, t_min)
    ratios = jnp.linspace(sde.log_snr(sde.t_max), sde.log_snr(end), n + 1)
    return sde.inverse_log_snr(ratios).at[0].set(sde.t_max).at[-1].set(end)


def karras(sde: LinearSDE, n: int, *, t_min: float | None = None, rho: float = 7.0) -> Array:
    """Return times whose noise-to-signal ratio `sigma / alpha` follows EDM's rule (arXiv 2206.00364, eq. 5).

    (sigma / alpha)_i = (r_max^{1/rho} + i/n (r_min^{1/rho} - r_max^{1/rho}))^rho.

    Raises:
        ValueError: if `n < 1` or `t_min` is not inside the process's times.
    """
    end = _end(sde, n, t_min)
    first, last = (jnp.exp(-0.5 / rho * sde.log_snr(t)) for t in (sde.t_max, end))
    return (
        sde.inverse_log_snr(-2.0 * rho * jnp.log(jnp.linspace(first, last, n + 1))).at[0].set(sde.t_max).at[-1].set(end)
    )


def _end(sde: LinearSDE, n: int, t_min: float | None) -> float:
    end = sde.t_min if t_min is None else t_min
    if n < 1:
        raise ValueError(f"a time grid needs at least one step, got n={n}")
    if not sde.t_min <= end < sde.t_max:
        raise ValueError(f"t_min={end} lies outside [{sde.t_min}, {sde.t_max}), the times of this process")
    return end
