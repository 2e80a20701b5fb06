"""Which few of a process's times a reverse chain visits: evenly, as DDIM does, or those of the least bound.

The bound of a chain is a sum over its steps, so the best path through a grid of times is found by dynamic programming.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.reverse import optimal_variance, transition
from scorejax.reverse.gamma import Gamma
from scorejax.sdes import times as times_lib
from scorejax.sdes.discrete import Chain
from scorejax.sdes.float64 import evaluate
from scorejax.sdes.linear import LinearSDE


def even(sde: LinearSDE, k: int) -> np.ndarray:
    """Return `k` evenly spaced times from `t_max` to `t_min`: `times.even` with `k - 1` steps."""
    return times_lib.even(sde, k - 1)


def respaced(chain: Chain, sections: str) -> np.ndarray:
    """Return the times of a chain cut into sections, as in "10,15,20" or "25": `times.respaced` by its counts."""
    return times_lib.respaced(chain, sum(times_lib.section_counts(sections)) - 1, sections=sections)


def ddim_uniform(chain: Chain, k: int) -> np.ndarray:
    """Return `k` times that stride evenly from the first level: `times.ddim_uniform` with `k - 1` steps."""
    return times_lib.ddim_uniform(chain, k - 1)


def ddim_quadratic(chain: Chain, k: int) -> np.ndarray:
    """Return at most `k` times as `times.ddim_quadratic` does; levels that coincide are visited once."""
    return times_lib.level_times(chain, np.unique(times_lib.ddim_quadratic_levels(chain, k - 1)))


def optimal(sde: LinearSDE, gamma: Gamma, k: int, *, eta: float = 1.0) -> np.ndarray:
    """Return the `k` times with the least variational bound, among the times of a `Gamma` (Analytic-DPM, section 4).

    Minimizes `sum log(sigma^2_{s|t} / posterior_{s|t})` over all paths from the last to the first time, by dynamic
    programming in O(k n^2). Best for likelihoods; the Frechet distance prefers `even`. Where the estimate finds more
    noise than there is (`E |eps|^2 / D > 1`), which only an imperfect network does, the cost means nothing; the times
    from there on, and as many before, are visited evenly.

    Raises:
        ValueError: if `k < 2` or more than the times of `gamma`, `eta` is 0 (the bound is infinite) or outside
            (0, 1], or `gamma` belongs to another process.
    """
    if not 0.0 < eta <= 1.0:
        raise ValueError(f"an optimal trajectory needs eta in (0, 1], got {eta}: without noise the bound is infinite")
    gamma.check(sde)
    n = len(gamma.times)
    _check(k, n)
    over = np.flatnonzero(gamma.mean_square.reshape(n, -1).mean(axis=1) > 1.0)
    # published: as many times before the first bad one as after it are not trusted either
    bad = min(2 * (n - over[0]), n - 1) if len(over) else 0
    tail = k - math.ceil((1.0 - 0.8 * bad / n) * k) if bad else 0
    if bad and not 1 <= tail <= bad:
        tail = 1  # the last time is always visited
    good = n - bad
    cost = path_cost(sde, gamma, eta)[:good, :good]
    head = k - tail
    if head < 2 or head > good:
        raise ValueError(
            f"an optimal trajectory of {k} times is not defined: E |eps|^2 / D exceeds 1 from "
            f"t={gamma.times[over[0]]:.4g} on; estimate Gamma from more examples, or use an even trajectory"
        )
    path = least_cost(cost, head)
    if bad:
        path = np.append(path, good + np.round(np.linspace(0, bad, tail + 1)[1:]).astype(int) - 1)
    return gamma.times[path][::-1]


def path_cost(sde: LinearSDE, gamma: Gamma, eta: float = 1.0) -> np.ndarray:
    """Return `log(sigma^2_{s|t} / posterior_{s|t})` for all pairs of times of `gamma`, `[s, t]`; infinite for s >= t.

    Half of it is the expected KL term in nats per dimension; where the modes differ it is the mean over them.
    """
    times, residual = gamma.times, gamma.residual(sde, gamma.times)
    ratio = evaluate(_log_ratio, sde, times, residual, eta)
    return np.where(np.triu(np.ones_like(ratio, bool), 1), ratio, np.inf)


def least_cost(cost: np.ndarray, k: int) -> np.ndarray:
    """Return the path of `k` nodes from the first to the last with the least sum of `cost[i, j]`, `i < j`.

    Args:
        cost: `[n, n]`; only the part above the diagonal is used.
        k: nodes on the path, both ends counted.

    Raises:
        ValueError: unless `2 <= k <= n`.
    """
    n = len(cost)
    _check(k, n)
    cost = np.where(np.triu(np.ones((n, n), bool), 1), cost, np.inf)
    # best[j]: the least cost of a path from node 0 to node j with so many nodes; before: where it came from
    best = np.where(np.arange(n) == 0, 0.0, np.inf)
    before = []
    for _ in range(k - 1):
        through = best[:, None] + cost
        before.append(np.argmin(through, axis=0))
        best = np.min(through, axis=0)
    path = [n - 1]
    for previous in reversed(before):
        path.append(int(previous[path[-1]]))
    return np.array(path[::-1])


def _log_ratio(sde: LinearSDE, times: Array, residual: Array, eta: Array) -> Array:
    def of_end(i: Array) -> Array:
        later = jnp.arange(times.shape[0]) > i
        # pairs that are no step get the numbers of one that is
        s, t = jnp.where(later, times[i], times[0]), jnp.where(later, times, times[-1])
        step = transition(sde, s, t, eta)
        ratio = jnp.log(optimal_variance(step, residual) / step.posterior)
        return ratio.reshape(*t.shape, -1).mean(-1)

    # one end after the other: all pairs of all modes at once would need too much memory
    return jax.lax.map(of_end, jnp.arange(times.shape[0]))


def _check(k: int, most: int) -> None:
    if not 2 <= k <= most:
        raise ValueError(f"a trajectory needs at least 2 times and at most the {most} there are, got {k}")
