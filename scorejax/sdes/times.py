"""Time grids: decreasing arrays of `n + 1` times for `n` sampler steps, `grid(sde, n, *, t_min=None)`.

Every solver steps between neighboring times of a grid. Which grid suits which solver is a matter of taste and of
measurement; the published choices are here. Those of a process whose numbers are known are numbers too, also inside a
compiled program.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics.ranges import Positive
from scorejax.sdes.corruption import Corruption, check_kind
from scorejax.sdes.discrete import Chain
from scorejax.sdes.float64 import exact_times
from scorejax.sdes.linear import LinearSDE


def uniform(sde: Corruption, n: int, *, t_min: float | None = None) -> Array:
    """Return `n + 1` equally spaced times from `sde.t_max` down to `t_min` (default `sde.t_min`).

    For a chain of N levels, `uniform(sde, N - 1)` visits every level.

    Raises:
        ValueError: if `n < 1` or `t_min` is not inside the process's times.
    """
    end = _end(sde, n, t_min)
    with doors.evaluated(sde):
        return jnp.linspace(sde.t_max, end, n + 1)


def quadratic(sde: Corruption, n: int, *, t_min: float | None = None) -> Array:
    """Return times equally spaced in `sqrt(t)`: finer steps near the data (`time_quadratic` of DPM-Solver's code).

    Raises:
        ValueError: if `n < 1` or `t_min` is not inside the process's times.
    """
    end = _end(sde, n, t_min)
    with doors.evaluated(sde):
        # The ends are set, not computed: rounding may carry them out of the process's times.
        return (jnp.linspace(sde.t_max**0.5, end**0.5, n + 1) ** 2).at[0].set(sde.t_max).at[-1].set(end)


def log_snr(sde: Corruption, n: int, *, t_min: float | None = None) -> Array:
    """Return times equally spaced in the log signal-to-noise ratio (DPM-Solver, arXiv 2206.00927).

    Raises:
        ValueError: if `n < 1` or `t_min` is not inside the process's times.
    """
    sde = check_kind(sde, LinearSDE, "the time grid log_snr")
    end = _end(sde, n, t_min)
    with doors.evaluated(sde):
        ratios = jnp.linspace(sde.mean_log_snr(sde.t_max), sde.mean_log_snr(end), n + 1)
        return _between(sde, ratios, end)


def karras(sde: Corruption, n: int, *, t_min: float | None = None, rho: Positive = 7.0) -> Array:
    """Return times whose noise-to-signal ratio `sigma / alpha` follows EDM's rule (arXiv 2206.00364, eq. 5).

    (sigma / alpha)_i = (r_max^{1/rho} + i/n (r_min^{1/rho} - r_max^{1/rho}))^rho.

    Raises:
        ValueError: if `n < 1` or `t_min` is not inside the process's times.
    """
    sde = check_kind(sde, LinearSDE, "the time grid karras")
    end = _end(sde, n, t_min)
    with doors.evaluated(sde, rho):
        first, last = (jnp.exp(-0.5 / rho * sde.mean_log_snr(t)) for t in (sde.t_max, end))
        return _between(sde, -2.0 * rho * jnp.log(jnp.linspace(first, last, n + 1)), end)


def singlestep(sde: Corruption, n: int, order: int, *, t_min: float | None = None) -> Array:
    """Return the grid of singlestep DPM-Solver for `n` evaluations (arXiv 2206.00927, section 3.4).

    Its steps (`singlestep_orders`) are equally long in the log signal-to-noise ratio, and each is cut in as many equal
    intervals as its order.

    Raises:
        ValueError: if `n < 1`, `order` is not 1, 2 or 3, or `t_min` is not inside the process's times.
    """
    sde = check_kind(sde, LinearSDE, "the time grid singlestep")
    end, orders = _end(sde, n, t_min), np.asarray(singlestep_orders(n, order))
    inside = np.concatenate([np.arange(k) / k for k in orders])
    position = np.append(np.repeat(np.arange(len(orders)), orders) + inside, len(orders)) / len(orders)
    with doors.evaluated(sde):
        first, last = sde.mean_log_snr(sde.t_max), sde.mean_log_snr(end)
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


def even(sde: Corruption, n: int, *, t_min: float | None = None) -> np.ndarray:
    """Return evenly spaced times in float64; on a chain of N levels those of `round(1 + (N - 1) k / n)`.

    (Analytic-DPM, arXiv 2201.06503.) Both ends of the chain are among them. Halves are rounded to the even level;
    `respaced` counts levels from 0, so that halves go to the even level counted so.

    Raises:
        ValueError: if `n < 1`, a chain has fewer levels, or `t_min` is given for a chain or lies outside its times.
    """
    if not isinstance(sde, Chain):
        return exact_times(sde, uniform(sde, n, t_min=t_min))
    total = _chain("even", sde, n, t_min).levels
    return level_times(sde, np.round(np.linspace(1, total, n + 1)))


def respaced(sde: Corruption, n: int, *, sections: str = "", t_min: float | None = None) -> np.ndarray:
    """Return the times of a chain cut into sections, of each so many levels, in float64 (improved DDPM, 2102.09672).

        start + round((size - 1) k / (count - 1)),   k = 0 .. count - 1,   levels counted from 0

    The sections are as equally long as can be, the longer ones next to the data, and both ends of each are among the
    levels. `respaced(sde, n)` is one section, the `timestep_respacing` of as many steps of guided-diffusion.

    Args:
        sde: a chain of levels.
        n: number of sampler steps, one less than there are levels.
        sections: how many levels of each section, next to the data first, as in "10,15,20"; they add up to `n + 1`.
            One section if not given.
        t_min: not for chains.

    Raises:
        ValueError: if the process is no chain, `n < 1`, the counts do not add up to `n + 1`, or a section has fewer
            levels than its count.
    """
    chain = _chain("respaced", sde, n, t_min)
    counts = section_counts(sections) if sections else [n + 1]
    if sum(counts) != n + 1:
        raise ValueError(
            f"respaced: sections={sections!r} visit {sum(counts)} levels, which are {sum(counts) - 1} steps, got n={n}"
        )
    size, longer = divmod(chain.levels, len(counts))
    sizes = [size + (i < longer) for i in range(len(counts))]
    for i, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        if count > size:
            raise ValueError(f"respaced: section {i} of {sections!r} has {size} levels, got {count} to visit")
    inside = [start + _rounded(*of) for start, *of in zip(np.cumsum([1, *sizes[:-1]]), sizes, counts, strict=True)]
    return level_times(chain, np.concatenate(inside))


def section_counts(sections: str) -> list[int]:
    """Return the numbers of "10,15,20".

    Raises:
        ValueError: unless they are whole numbers, at least 1.
    """
    parts = [part.strip() for part in sections.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(
            f"respaced: sections are whole numbers separated by commas, as in '10,15,20', got {sections!r}"
        )
    return [int(part) for part in parts]


def _rounded(size: int, count: int) -> np.ndarray:
    # added up, not multiplied: published code adds, and where a sum falls on a half its last digit decides
    stride = (size - 1) / (count - 1) if count > 1 else 1.0
    return np.round(np.cumsum([0.0] + [stride] * (count - 1)))


def ddim_uniform(sde: Corruption, n: int, *, t_min: float | None = None) -> np.ndarray:
    """Return the times of the levels `1 + floor(N / (n + 1)) k` of a chain, in float64 (DDIM, arXiv 2010.02502).

    The last level is not among them: the sampler draws from the prior all the same.

    Raises:
        ValueError: if `n < 1`, the process is no chain or has fewer levels, or `t_min` is given.
    """
    chain = _chain("ddim_uniform", sde, n, t_min)
    return level_times(chain, 1 + chain.levels // (n + 1) * np.arange(n + 1))


def ddim_quadratic(sde: Corruption, n: int, *, t_min: float | None = None) -> np.ndarray:
    """Return the times of the levels `1 + floor(0.8 N (k / n)^2)` of a chain, in float64: DDIM's choice for CIFAR-10.

    It begins at 0.8 N from the prior, as published (DDIM, appendix D.2).

    Raises:
        ValueError: if `n < 1`, the process is no chain or has fewer levels, two of them coincide, or `t_min` is given.
    """
    chain = _chain("ddim_quadratic", sde, n, t_min)
    visited = ddim_quadratic_levels(chain, n)
    if not np.all(np.diff(visited) > 0):
        raise ValueError(
            f"ddim_quadratic: {n + 1} of {chain.levels} levels coincide in part; take fewer steps, or choose even"
        )
    return level_times(chain, visited)


def ddim_quadratic_levels(chain: Chain, n: int) -> np.ndarray:
    """Return the levels `1 + floor(0.8 N (k / n)^2)` for `k = 0 .. n`; at the clean end some may be equal."""
    return 1 + np.floor(np.linspace(0.0, math.sqrt(0.8 * chain.levels), n + 1) ** 2)


def level_times(chain: Chain, levels: np.ndarray) -> np.ndarray:
    """Return the decreasing times in float64 of increasing levels of a chain."""
    # In float64: in float32 `n / N` is no exact level any more, and tables are looked up by level.
    return np.asarray(levels, np.float64)[::-1] / chain.levels


def _chain(grid: str, sde: Corruption, n: int, t_min: float | None) -> Chain:
    """Return the process as a chain that has `n + 1` levels."""
    if not isinstance(sde, Chain):
        raise ValueError(
            f"{grid} visits levels of a discrete chain (ddpm, smld), which {type(sde).__name__} does not have; choose "
            "even or quadratic"
        )
    if t_min is not None:
        raise ValueError(f"{grid} ends at the first level of a chain, got t_min={t_min}; leave it out")
    if n < 1:
        raise ValueError(f"a time grid needs at least one step, got n={n}")
    if n + 1 > sde.levels:
        raise ValueError(f"{grid} visits n + 1 = {n + 1} levels, but this chain has {sde.levels}; take fewer steps")
    return sde


def _between(sde: LinearSDE, log_snr: Array, end: float) -> Array:
    # The inverse is exact up to rounding only, and a solver must not start outside the process's times.
    return sde.inverse_log_snr(log_snr).at[0].set(sde.t_max).at[-1].set(end)


def _end(sde: Corruption, n: int, t_min: float | None) -> float:
    end = sde.t_min if t_min is None else t_min
    if n < 1:
        raise ValueError(f"a time grid needs at least one step, got n={n}")
    if not sde.t_min <= end < sde.t_max:
        raise ValueError(f"t_min={end} lies outside [{sde.t_min}, {sde.t_max}), the times of this process")
    return end


GRIDS: dict[str, Callable[..., Array | np.ndarray]] = {
    "uniform": uniform,
    "quadratic": quadratic,
    "log_snr": log_snr,
    "karras": karras,
    "even": even,
    "respaced": respaced,
    "ddim_uniform": ddim_uniform,
    "ddim_quadratic": ddim_quadratic,
}
"""The time grids by name: `(sde, n, *, t_min=None, ...) -> n + 1 times`. `scorejax.samplers.GRIDS` adds `optimal`."""
