"""The log-likelihood of a model with latent variables: `log p(x) = log E_{p(z)}[p(x | z)]`, bounded from below.

Weights `w` with `E[w] = p(x)` are drawn by importance sampling or by annealed importance sampling (Neal, 1998); the log
of their mean is a bound, `E[log mean w] <= log p(x)`, which is closed as there are more of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import as_pytree

_START, _MOMENTA, _ACCEPT = range(3)  # streams of the keys of a run of chains
_PILOT, _RUNS = range(2)  # and of an example's: the pilot, and its other runs
_WANTED = 0.65  # share of accepted moves, at which Hamiltonian Monte Carlo is nearly fastest
_PILOTS = 4  # chains that find the step sizes
_CHUNK = 16  # weights of each example that are in memory at once


class Evidence(NamedTuple):
    """What `evidence` returns, one entry per example.

    Attributes:
        value: log of the mean weight, in nats, `[B]`: on average at most `log p(x)`.
        stderr: its standard error by the spread of the weights, `[B]`; NaN for a single one. Where few weights hold
            nearly all of the sum it is too small.
        effective: the number of equal weights that would vary as much, `[B]`, from 1 to the number of weights.
        accepted: share of accepted moves, `[B]`; NaN where there are none.
    """

    value: Array
    stderr: Array
    effective: Array
    accepted: Array


def evidence(
    key: Array,
    log_likelihood: Callable[[Array], Array],
    proposal: tuple[Array, Array],
    *,
    samples: int = 100,
    temperatures: int = 0,
    leapfrog_steps: int = 10,
) -> Evidence:
    """Return a stochastic lower bound of `log p(x)` of examples under a latent-variable model with `p(z) = N(0, I)`.

        log 1/K sum_k w_k,   w_k = p(x | z_k) p(z_k) / q(z_k | x),   z_k ~ q(z | x)

    (IWAE, Burda et al., arXiv 1509.00519): for `K = 1` the ELBO, growing with K to `log p(x)`, and exact for any K
    where `q` is the posterior. With `temperatures = T` each weight is a product along T distributions between `q` and
    the posterior (annealed importance sampling, Wu et al., arXiv 1611.04273),

        f_i = q^(1 - b_i) [p(x | z) p(z)]^(b_i),   b_i a sigmoid from 0 to 1,

    with a move of Hamiltonian Monte Carlo at each, whose step sizes are those of a pilot run that aims at 65 % accepted
    moves, so that the mean of the weights stays exact. A poor `q`, such as the prior, then costs time, not tightness.
    It costs `K` evaluations of the likelihood and `leapfrog_steps T (K + 4)` of its gradient.

    Args:
        key: one key, or one per example `[B]`.
        log_likelihood: `z [K, B, L] -> log p(x | z)` in nats, `[K, B]`, for the examples `x [B, ...]` that it knows.
        proposal: mean and standard deviation of the normal law `q(z | x)` of each example, `[B, L]` both.
        samples: `K`, weights for each example.
        temperatures: `T`, distributions between; 0: importance sampling.
        leapfrog_steps: of each move.

    Raises:
        ValueError: on counts below 1 (temperatures: 0), a proposal whose parts do not fit, or a likelihood that is not
            one number for each latent vector.
    """
    mean, std = (doors.points(part, "the proposal", finite=False) for part in proposal)
    if mean.ndim != 2 or mean.shape != std.shape:
        raise ValueError(
            "the proposal is a mean and a standard deviation for each latent number of each example, [B, L] both, got "
            f"shapes {mean.shape} and {std.shape}"
        )
    if min(samples, leapfrog_steps) < 1 or temperatures < 0:
        raise ValueError(
            "samples and leapfrog_steps must be at least 1 and temperatures at least 0, got "
            f"samples={samples}, leapfrog_steps={leapfrog_steps}, temperatures={temperatures}"
        )
    keys = keys_lib.per_example(key, len(mean))
    asked = {"samples": samples, "temperatures": temperatures, "leapfrog_steps": leapfrog_steps}
    return _evidence(keys, as_pytree(log_likelihood), mean, std, **asked)


@partial(jax.jit, static_argnames=("samples", "temperatures", "leapfrog_steps"))
def _evidence(
    keys: Array,
    log_likelihood: Callable[[Array], Array],
    mean: Array,
    std: Array,
    *,
    samples: int,
    temperatures: int,
    leapfrog_steps: int,
) -> Evidence:
    def law(z: Array) -> tuple[Array, Array]:
        """`log p(x, z)` and `log q(z | x)`, `[K, B]`."""
        of_x = log_likelihood(z)
        if jnp.shape(of_x) != z.shape[:2]:
            raise ValueError(
                f"log_likelihood must return one number for each latent vector {z.shape[:2]}, got {jnp.shape(of_x)}"
            )
        return of_x + _normal(z), _normal((z - mean) / std) - jnp.sum(jnp.log(std), axis=-1)

    between = partial(_annealed, law, mean, std, ladder=_ladder(temperatures), leapfrog_steps=leapfrog_steps)
    sizes = jnp.zeros((temperatures, len(mean)))
    if temperatures:
        sizes = between(keys_lib.fold_in(keys, _PILOT), None, chains=_PILOTS).sizes
    chunks = -(-samples // _CHUNK)
    own = keys_lib.fold_in(keys, _RUNS)
    each = partial(between, chains=-(-samples // chunks))
    if chunks == 1:
        weights, accepted, _ = each(own, sizes)
    else:
        runs = jax.lax.map(lambda i: each(keys_lib.fold_in(own, i), sizes), jnp.arange(chunks))
        weights, accepted = runs.weights.reshape(-1, len(mean))[:samples], jnp.mean(runs.accepted, axis=0)
    largest = jnp.max(weights, axis=0)
    relative = jnp.exp(weights - jnp.where(jnp.isfinite(largest), largest, 0.0))
    average = jnp.mean(relative, axis=0)
    spread = jnp.std(relative, axis=0, ddof=1) / samples**0.5 if samples > 1 else jnp.full(len(mean), jnp.nan)
    effective = jnp.sum(relative, axis=0) ** 2 / jnp.sum(relative**2, axis=0)
    return Evidence(largest + jnp.log(average), spread / average, effective, accepted)


class _Run(NamedTuple):
    weights: Array  # their logs [chains, B]
    accepted: Array  # share of the moves [B]
    sizes: Array  # logs of the step sizes [T, B]


def _annealed(
    law: Callable[[Array], tuple[Array, Array]],
    mean: Array,
    std: Array,
    keys: Array,
    sizes: Array | None,
    *,
    chains: int,
    ladder: np.ndarray,
    leapfrog_steps: int,
) -> _Run:
    """Chains from `q` to the posterior. With `sizes=None` the step sizes are found on the way, else they are given."""
    shape = (len(mean), chains, mean.shape[1])

    def noise(stream: int, i: Array | int) -> Array:
        drawn = keys_lib.normal(keys_lib.fold_in(keys_lib.fold_in(keys, stream), i), shape, mean.dtype)
        return jnp.moveaxis(drawn, 1, 0)

    def gradients(z: Array) -> tuple[Array, Array, Array]:
        """`log p(x, z)` and its gradient, and `log q(z | x)`, whose gradient is known."""
        (of_p, of_q), back = jax.vjp(law, z)
        (slope,) = back((jnp.ones_like(of_p), jnp.zeros_like(of_q)))
        return of_p, slope, of_q

    def move(state: tuple, inputs: tuple) -> tuple[tuple, tuple]:
        z, (of_p, slope, of_q), weights, found = state
        i, b, step, given = inputs
        weights += step * (of_p - of_q)
        size = jnp.exp(found if given is None else given)[None, :, None] * std  # in units of the proposal

        def force(z: Array, slope: Array) -> Array:
            return b * slope - (1.0 - b) * (z - mean) / std**2

        def leap(state: tuple, _: None) -> tuple[tuple, None]:
            z, momentum, (_, slope, _) = state
            momentum += 0.5 * size * force(z, slope)
            z += size * momentum
            law_there = gradients(z)
            return (z, momentum + 0.5 * size * force(z, law_there[1]), law_there), None

        begin = noise(_MOMENTA, i)
        (there, end, law_there), _ = jax.lax.scan(leap, (z, begin, (of_p, slope, of_q)), None, length=leapfrog_steps)
        energy = b * (law_there[0] - of_p) + (1.0 - b) * (law_there[2] - of_q)
        energy += 0.5 * (jnp.sum(begin**2, axis=-1) - jnp.sum(end**2, axis=-1))
        chance = jnp.exp(jnp.minimum(jnp.where(jnp.isnan(energy), -jnp.inf, energy), 0.0))
        draw = keys_lib.uniform(keys_lib.fold_in(keys_lib.fold_in(keys, _ACCEPT), i), shape[:2]).T
        taken = draw < chance
        pick = lambda new, old: jnp.where(taken.reshape(taken.shape + (1,) * (new.ndim - 2)), new, old)  # noqa: E731
        kept = jax.tree.map(pick, (there, law_there), (z, (of_p, slope, of_q)))
        share = jnp.mean(chance, axis=0)
        # Faster than it may forget: the law changes at every temperature, and there are few of them.
        after = found + 0.2 * (share - _WANTED)
        return (*kept, weights, after), (share, found)

    z = mean + std * noise(_START, 0)
    start = (z, gradients(z), jnp.zeros((chains, len(mean))), jnp.full(len(mean), math.log(0.5)))
    count = len(ladder) - 2
    inputs = (jnp.arange(count), jnp.asarray(ladder[1:-1], z.dtype), jnp.asarray(np.diff(ladder)[:-1], z.dtype), sizes)
    (_, (of_p, _, of_q), weights, _), (shares, found) = jax.lax.scan(move, start, inputs)
    accepted = jnp.mean(shares, axis=0) if count else jnp.full(len(mean), jnp.nan)
    return _Run(weights + float(np.diff(ladder)[-1]) * (of_p - of_q), accepted, found)


def _ladder(temperatures: int) -> np.ndarray:
    """From 0 to 1 by a sigmoid from -4 to 4, with so many values between: close steps where the law changes fastest."""
    place = 1.0 / (1.0 + np.exp(-np.linspace(-4.0, 4.0, temperatures + 2)))
    return (place - place[0]) / (place[-1] - place[0])


def _normal(z: Array) -> Array:
    """Log density of N(0, I), over the last axis."""
    return -0.5 * jnp.sum(z**2 + math.log(2.0 * math.pi), axis=-1)
