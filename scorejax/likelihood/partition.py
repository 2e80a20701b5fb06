"""The partition function `Z = int exp(-E(x)) dx` of an energy: by quadrature, and by annealed importance sampling.

An energy is a density up to this constant. In one or two dimensions it is a sum over a grid. In more it is the mean of
the weights of chains that are led from a normal law, whose constant is known, to the law of the energy (Neal,
arXiv physics/9803008): their mean is Z exactly, however far the chains are from having forgotten where they began, and
their spread says how well it is known. The logarithm of a mean of few weights is too low on average, never too high:
what it says of a likelihood is optimistic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from scorejax.likelihood.hamiltonian import Bridge, Place
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib

Energy: TypeAlias = Callable[[Array], Array]
"""`x [B, ...] -> E [B]` in nats, each example's from its own row alone."""
LEVEL_95 = 1.959964
"""Standard errors of a normal law to both sides of its mean that hold 95 % of it."""
_START, _MOVES = 0, 1  # streams of a chain's key
_MEASURED, _PILOT = 0, 1  # streams of the caller's key
_WARM_UP = 50  # moves in which the pilot looks for its first step size


class Partition(NamedTuple):
    """An estimate of a partition function.

    Attributes:
        log_z: its logarithm, in nats.
        stderr: standard error of that; of a quadrature, its error.
        low: lower end of the interval that holds `log Z` in 95 % of runs.
        high: upper end.
        ess: effective sample size of the weights, `(sum w)^2 / sum w^2`, at most the number of chains; NaN of a
            quadrature.
        acceptance: share of the moves that were accepted; NaN of a quadrature.
    """

    log_z: Array
    stderr: Array
    low: Array
    high: Array
    ess: Array
    acceptance: Array


class Path(NamedTuple):
    """How chains are led from a normal law `q = N(mean, scale^2)` to that of an energy: `q^(1 - b) exp(-b E)`.

    Attributes:
        mean: of the normal law, a number or of the shape of an example.
        scale: its standard deviation.
        inverse_temperatures: `b` from 0 to 1, `[K + 1]`.
        step_sizes: of the leapfrog steps at each of the last K of them, `[K]`.
    """

    mean: Array
    scale: Array
    inverse_temperatures: Array
    step_sizes: Array


class Annealed(NamedTuple):
    """Where chains arrived.

    Attributes:
        log_weights: whose exponentials have the mean `Z`, `[B]`.
        acceptance: share of its moves that each chain accepted, `[B]`.
        x: the ends, `[B, ...]`.
    """

    log_weights: Array
    acceptance: Array
    x: Array


def quadrature(energy: Energy, low: object, high: object, *, points: int = 512) -> Partition:
    """Return `log int exp(-E(x)) dx` over a box of one or two dimensions, by the trapezoidal rule.

    For smooth energies whose law ends well within the box the rule converges faster than any power of the number of
    points. The error is that of halving them, plus the share of `Z` that lies in the outermost eighths of the
    box, beyond which as much may be missing.

    Args:
        energy: `E(x)` of vectors `[B, D]`.
        low: lower corner of the box, `[D]`.
        high: its upper corner.
        points: intervals along each axis, an even number.

    Raises:
        ValueError: more than two dimensions, corners that do not fit, or a number of points that is not even.
    """
    low, high = np.atleast_1d(np.asarray(low, np.float64)), np.atleast_1d(np.asarray(high, np.float64))
    if low.ndim != 1 or low.shape != high.shape or not np.all(low < high) or not np.all(np.isfinite([low, high])):
        raise ValueError(f"quadrature needs corners low < high of one shape [D], got {low} and {high}")
    if len(low) > 2:
        raise ValueError(f"quadrature serves one or two dimensions, got {len(low)}; use annealed_importance_sampling")
    if points < 4 or points % 2:
        raise ValueError(f"quadrature needs an even number of points of at least 4, got {points}")
    sides = [np.linspace(a, b, points + 1, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    rows = jnp.asarray(np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, points + 1, len(low)))
    values = -lax.map(lambda x: doors.per_row(x, energy(x), "an energy"), rows).reshape([points + 1] * len(low))
    cell = float(np.sum(np.log((high - low) / points)))
    fine = _trapezoid(values) + cell
    coarse = _trapezoid(values[(slice(None, None, 2),) * len(low)]) + cell + len(low) * np.log(2.0)
    edge = points // 8
    inner = _trapezoid(values[(slice(edge, points + 1 - edge),) * len(low)]) + cell
    error = jnp.abs(fine - coarse) - jnp.log1p(-jnp.clip(-jnp.expm1(inner - fine), 0.0, 1.0))
    nothing = jnp.full_like(fine, jnp.nan)
    return Partition(fine, error, fine - error, fine + error, nothing, nothing)


def _trapezoid(values: Array) -> Array:
    """The logarithm of the sum of exponentials over a grid, whose faces count half."""
    for axis in range(values.ndim):
        ends = np.zeros(values.shape[axis], np.float32)
        ends[[0, -1]] = np.log(0.5)
        values = values + ends.reshape(-1, *[1] * (values.ndim - 1 - axis))
    return jax.nn.logsumexp(values)


def annealed_importance_sampling(
    key: Array,
    energy: Energy,
    shape: tuple[int, ...],
    *,
    mean: object = 0.0,
    scale: object = 1.0,
    chains: int = 64,
    levels: int = 1000,
    leapfrog_steps: int = 5,
    acceptance: float = 0.65,
) -> Partition:
    """Return `log int exp(-E(x)) dx` by annealed importance sampling with Hamiltonian moves (Neal, 1998).

    A pilot with keys of its own finds the step sizes, so that no move depends on the chains that are measured, and the
    mean of their weights is `Z` exactly. Compiles to loops of one body.

    Args:
        key: a typed PRNG key; chain `i` draws from its number alone.
        energy: `E(x)`. Give weights by `jax.tree_util.Partial`, so that other weights do not compile again.
        shape: of one example.
        mean: of the normal law that chains begin in, a number or of that shape.
        scale: its standard deviation; at least as wide as the law of the energy.
        chains: how many are measured; a quarter of them go ahead as pilots.
        levels: of the path, one move at each.
        leapfrog_steps: of a move; 1 is Langevin with a Metropolis correction.
        acceptance: share of moves that the pilot aims at.

    Raises:
        ValueError: a number that is out of range.
    """
    path = find_path(
        key,
        energy,
        shape,
        mean=mean,
        scale=scale,
        chains=max(8, chains // 4),
        levels=levels,
        leapfrog_steps=leapfrog_steps,
        acceptance=acceptance,
    )
    keys = keys_lib.per_example(jax.random.fold_in(key, _MEASURED), chains)
    found = anneal(keys, energy, shape, path, leapfrog_steps=leapfrog_steps)
    return of_weights(found.log_weights, found.acceptance)


def find_path(
    key: Array,
    energy: Energy,
    shape: tuple[int, ...],
    *,
    mean: object = 0.0,
    scale: object = 1.0,
    chains: int = 16,
    levels: int = 1000,
    leapfrog_steps: int = 5,
    acceptance: float = 0.65,
) -> Path:
    """Return a path whose step sizes a pilot run has found; the arguments are those of the estimate.

    Inverse temperatures are a sigmoid of equal steps from -4 to 4, brought to [0, 1]: dense at both ends. After each
    move the logarithm of the step size goes up by a fifth of what the pilots' mean acceptance is above the wanted.

    Raises:
        ValueError: a number that is out of range.
    """
    if chains < 1 or levels < 1 or leapfrog_steps < 1 or not 0 < acceptance < 1:
        raise ValueError(
            "annealed importance sampling needs at least one chain, level and leapfrog step, and an acceptance between "
            f"0 and 1; got chains={chains}, levels={levels}, leapfrog_steps={leapfrog_steps}, acceptance={acceptance}"
        )
    law = np.broadcast_arrays(np.asarray(mean), np.asarray(scale)) if doors.known(mean, scale) else None
    if law is not None and not (np.all(np.isfinite(law)) and np.all(np.asarray(law[1]) > 0)):
        raise ValueError(
            "the normal law that chains begin in has a finite mean and a positive scale, got "
            f"mean={mean}, scale={scale}"
        )
    rise = 1 / (1 + np.exp(-np.linspace(-4, 4, levels + 1)))
    betas = jnp.asarray((rise - rise[0]) / (rise[-1] - rise[0]), jnp.float32)
    mean, scale = jnp.asarray(mean, jnp.float32), jnp.asarray(scale, jnp.float32)
    keys = keys_lib.per_example(jax.random.fold_in(key, _PILOT), chains)
    bridge = Bridge(energy, mean, scale)
    asked = jnp.concatenate([jnp.zeros(_WARM_UP), betas[1:]])

    def once(carry: tuple[Place, Array], level: tuple[Array, Array]) -> tuple[tuple[Place, Array], Array]:
        place, log_step = carry
        k, beta = level
        moved = bridge.move(_of_move(keys, k), place, beta, jnp.exp(log_step), leapfrog_steps)
        return (moved.place, log_step + 0.2 * (jnp.mean(moved.probability) - acceptance)), jnp.exp(log_step)

    first = jnp.log(jnp.min(scale) / leapfrog_steps)
    start = bridge.start(keys_lib.fold_in(keys, _START), shape)
    _, steps = lax.scan(once, (start, first), (jnp.arange(len(asked)), asked))
    return Path(mean, scale, betas, steps[_WARM_UP:])


def anneal(keys: Array, energy: Energy, shape: tuple[int, ...], path: Path, *, leapfrog_steps: int = 5) -> Annealed:
    """Lead one chain for each key along a path, and return the logarithms of their weights, in nats.

        log w = sum_k (b_k - b_(k-1)) (-E(x_k) - log q(x_k)),   x_k before the move at b_k

    Args:
        keys: one for each chain, `[B]`.
        energy: `E(x)`.
        shape: of one example.
        path: from `find_path`.
        leapfrog_steps: of a move, as in the pilot.
    """
    bridge = Bridge(energy, path.mean, path.scale)

    def once(
        carry: tuple[Place, Array, Array], level: tuple[Array, Array, Array, Array]
    ) -> tuple[tuple[Place, Array, Array], None]:
        place, log_w, accepted = carry
        k, before, beta, step = level
        log_w = log_w + (beta - before) * (bridge.minus_log_base(place.x) - place.energy)
        moved = bridge.move(_of_move(keys, k), place, beta, step, leapfrog_steps)
        return (moved.place, log_w, accepted + moved.accepted), None

    betas = path.inverse_temperatures
    nothing = jnp.zeros(len(keys), jnp.float32)
    levels = jnp.arange(len(path.step_sizes)), betas[:-1], betas[1:], path.step_sizes
    start = bridge.start(keys_lib.fold_in(keys, _START), shape)
    (place, log_w, accepted), _ = lax.scan(once, (start, nothing, nothing), levels)
    return Annealed(log_w, accepted / len(path.step_sizes), place.x)


def _of_move(keys: Array, k: Array) -> Array:
    return keys_lib.fold_in(keys_lib.fold_in(keys, _MOVES), k)


def of_weights(log_weights: Array, acceptance: Array) -> Partition:
    """Return the estimate that log weights `[n]` of independent chains make, with its standard error by the delta rule.

    log Z = log mean w,   stderr = std(w) / (mean(w) sqrt(n))
    """
    n = len(log_weights)
    log_z = jax.nn.logsumexp(log_weights) - jnp.log(n)
    w = jnp.exp(log_weights - log_z)
    stderr = jnp.std(w, ddof=1) / jnp.sqrt(n) if n > 1 else jnp.float32(jnp.nan)
    ess = jnp.sum(w) ** 2 / jnp.sum(w**2)
    width = quantile_95(n) * stderr
    return Partition(log_z, stderr, log_z - width, log_z + width, ess, jnp.mean(acceptance))


def quantile_95(chains: int) -> float:
    """Return how many standard errors to both sides hold 95 %, where the error is estimated from so many chains.

    That of Student's law with `n - 1` degrees of freedom, by its expansion around the normal one (Abramowitz & Stegun
    26.7.5); 1.96 for many.
    """
    z, v = LEVEL_95, max(chains - 1, 1)
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
