"""Time grids: decreasing arrays of `n + 1` times for `n` sampler steps."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.sdes.discrete import Chain
from scorejax.sdes.linear import LinearSDE

SPACINGS = ("even", "ddim_uniform", "ddim_quadratic")


def uniform(sde: LinearSDE, n: int, *, t_min: float | None = None) -> Array:
    """Return `n + 1` equally spaced times from `sde.t_max` down to `t_min` (default `sde.t_min`).

    For a chain of N levels, `uniform(sde, N - 1)` visits every level.

    Raises:
        ValueError: if `n < 1` or `t_min` is not inside the process's times.
    """
    return jnp.linspace(sde.t_max, _end(sde, n, t_min), n + 1)


def quadratic(sde: LinearSDE, n: int, *, t_min: float | None = None) -> Array:
    """Return times equally spaced in `sqrt(t)`: finer steps near the data (`time_quadratic` of DPM-Solver's code).

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
    return _between(sde, ratios, end)


def karras(sde: LinearSDE, n: int, *, t_min: float | None = None, rho: float = 7.0) -> Array:
    """Return times whose noise-to-signal ratio `sigma / alpha` follows EDM's rule (arXiv 2206.00364, eq. 5).

    (sigma / alpha)_i = (r_max^{1/rho} + i/n (r_min^{1/rho} - r_max^{1/rho}))^rho.

    Raises:
        ValueError: if `n < 1` or `t_min` is not inside the process's times.
    """
    end = _end(sde, n, t_min)
    first, last = (jnp.exp(-0.5 / rho * sde.log_snr(t)) for t in (sde.t_max, end))
    return _between(sde, -2.0 * rho * jnp.log(jnp.linspace(first, last, n + 1)), end)


def singlestep(sde: LinearSDE, n: int, order: int, *, t_min: float | None = None) -> Array:
    """Return the grid of singlestep DPM-Solver for `n` evaluations (arXiv 2206.00927, section 3.4).

    Its steps (`singlestep_orders`) are equally long in the log signal-to-noise ratio, and each is cut in as many equal
    intervals as its order.

    Raises:
        ValueError: if `n < 1`, `order` is not 1, 2 or 3, or `t_min` is not inside the process's times.
    """
    end, orders = _end(sde, n, t_min), np.asarray(singlestep_orders(n, order))
    inside = np.concatenate([np.arange(k) / k for k in orders])
    position = np.append(np.repeat(np.arange(len(orders)), orders) + inside, len(orders)) / len(orders)
    first, last = sde.log_snr(sde.t_max), sde.log_snr(end)
    return _between(sde, first + (last - first) * jnp.asarray(position, jnp.result_type(float)), end)


def singlestep_orders(n: int, order: int) -> list[int]:
    """Return the orders, summing to `n`, of the steps of singlestep DPM-Solver for `n` evaluations.

    As many steps of `order` as fit, then the rest; where order 3 leaves no rest the last three evaluations are steps
    of 2 and 1.

    Raises:
        ValueError: if `n < 1` or `order` is not 1, 2 or 3.
    """
    if n < 1 or order not in (1, 2, 3):
        raise ValueError(f"need n >= 1 evaluations and an order of 1, 2 or 3, got n={n}, order={order}")
    full, rest = divmod(n, order)
    if order == 3 and rest == 0:
        return [3] * (full - 1) + [2, 1]
    return [order] * full + [rest] * (rest > 0)


def levels(sde: Chain, n: int, spacing: str = "even") -> Array:
    """Return the times of `n + 1` levels of a discrete chain, chosen as in published code.

    `even` visits the levels `round(1 + (N - 1) k / n)`, both ends among them (Analytic-DPM). `ddim_uniform` strides
    from level 1 by the whole number `N / (n + 1)`, without the last level; `ddim_quadratic` visits
    `1 + floor(0.8 N (k / n)^2)`, and so begins at `0.8 N` (DDIM, appendix D.2): both draw from the prior all the same.
    Counting the driver's last denoising, all cost `n + 1` evaluations.

    Args:
        sde: a discrete chain, `sj.ddpm` or `sj.smld`.
        n: number of sampler steps.
        spacing: `even`, `ddim_uniform` or `ddim_quadratic`.

    Raises:
        ValueError: if the process is no chain, the spacing is unknown, or two of the levels coincide.
    """
    if not isinstance(sde, Chain):
        raise ValueError(f"levels belong to discrete chains (ddpm, smld); {type(sde).__name__} has none: use uniform")
    total, steps = sde.levels, np.arange(n + 1)
    if n < 1:
        raise ValueError(f"a time grid needs at least one step, got n={n}")
    if spacing == "even":
        visited = np.rint(1 + (total - 1) * steps / n)
    elif spacing == "ddim_uniform":
        visited = 1 + total // (n + 1) * steps
    elif spacing == "ddim_quadratic":
        visited = 1 + np.floor(np.linspace(0.0, (0.8 * total) ** 0.5, n + 1) ** 2)
    else:
        raise ValueError(f"unknown spacing {spacing!r}; choose one of {', '.join(SPACINGS)}")
    if not np.all(np.diff(visited) > 0):
        raise ValueError(f"spacing={spacing!r}: {n + 1} levels of {total} coincide in part; take fewer steps")
    return jnp.asarray(visited[::-1] / total, jnp.result_type(float))


def _between(sde: LinearSDE, log_snr: Array, end: float) -> Array:
    return sde.inverse_log_snr(log_snr).at[0].set(sde.t_max).at[-1].set(end)


def _end(sde: LinearSDE, n: int, t_min: float | None) -> float:
    end = sde.t_min if t_min is None else t_min
    if n < 1:
        raise ValueError(f"a time grid needs at least one step, got n={n}")
    if not sde.t_min <= end < sde.t_max:
        raise ValueError(f"t_min={end} lies outside [{sde.t_min}, {sde.t_max}), the times of this process")
    return end
