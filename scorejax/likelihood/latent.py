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
from jax import Array, lax

from scorejax.likelihood import partition
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import as_pytree

_DRAWS, _PATH, _RUNS = range(3)  # streams of an example's key
_PILOTS = 4  # chains that find the step sizes of an example
_CHUNK = 16  # weights of an example that are in memory at once


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
    log_likelihood: Callable[[Array, Array], Array],
    x: Array,
    proposal: tuple[Array, Array],
    *,
    samples: int = 100,
    temperatures: int = 0,
    leapfrog_steps: int = 10,
) -> Evidence:
    """Return a stochastic lower bound of `log p(x)` of examples under a latent-variable model with `p(z) = N(0, I)`.

        log 1/K sum_k w_k,   w_k = p(x | z_k) p(z_k) / q(z_k | x),   z_k ~ q(z | x)

    (IWAE, Burda et al., arXiv 1509.00519): for `K = 1` the ELBO, growing with K to `log p(x)`, and exact for any K
    where `q` is the posterior. With `temperatures = T` each weight is a product along T laws between `q` and the
    posterior, `q^(1 - b) [p(x | z) p(z)]^b` (annealed importance sampling, Wu et al., arXiv 1611.04273), with a
    Hamiltonian move at each, whose step sizes a pilot run has found: see `annealed_importance_sampling`. A poor `q`,
    such as the prior, then costs time, not tightness.

    Args:
        key: one key, or one per example `[B]`.
        log_likelihood: `(x [...], z [K, L]) -> log p(x | z)` in nats, `[K]`, of one example.
        x: examples, `[B, ...]`.
        proposal: mean and standard deviation of the normal law `q(z | x)` of each example, `[B, L]` both.
        samples: `K`, weights for each example.
        temperatures: `T`, laws between, the posterior included; 0: importance sampling.
        leapfrog_steps: of each move.

    Raises:
        ValueError: on counts below 1 (temperatures: 0), a proposal that does not fit, or a likelihood that is not one
            number for each latent vector.
    """
    mean, std = (doors.points(part, "the proposal", finite=False) for part in proposal)
    if mean.ndim != 2 or mean.shape != std.shape or len(mean) != len(x):
        raise ValueError(
            "the proposal is a mean and a standard deviation for each latent number of each example, [B, L] both, got "
            f"shapes {mean.shape} and {std.shape} for {len(x)} examples"
        )
    if min(samples, leapfrog_steps) < 1 or temperatures < 0:
        raise ValueError(
            "samples and leapfrog_steps must be at least 1 and temperatures at least 0, got "
            f"samples={samples}, leapfrog_steps={leapfrog_steps}, temperatures={temperatures}"
        )
    if doors.known(std) and not bool(jnp.all(std > 0)):
        raise ValueError("the standard deviations of the proposal must be positive, and some are not")
    asked = {"samples": samples, "temperatures": temperatures, "leapfrog_steps": leapfrog_steps}
    return _evidence(keys_lib.per_example(key, len(mean)), as_pytree(log_likelihood), x, mean, std, **asked)


@partial(jax.jit, static_argnames=("samples", "temperatures", "leapfrog_steps"))
def _evidence(
    keys: Array,
    log_likelihood: Callable[[Array, Array], Array],
    x: Array,
    mean: Array,
    std: Array,
    *,
    samples: int,
    temperatures: int,
    leapfrog_steps: int,
) -> Evidence:
    chunks = -(-samples // _CHUNK)
    each, shape = -(-samples // chunks), mean.shape[1:]

    def of_example(key: Array, x: Array, mean: Array, std: Array) -> partition.Partition:
        def energy(u: Array) -> Array:
            """`-log p(x, z)` at `z = mean + std u`, where the proposal is standard normal."""
            z = mean + std * u
            of_x = log_likelihood(x, z)
            if jnp.shape(of_x) != (len(z),):
                raise ValueError(
                    f"log_likelihood must return one number for each latent vector ({len(z)},), got {jnp.shape(of_x)}"
                )
            return -of_x - _normal(z) - jnp.sum(jnp.log(std))

        def draws(own: Array) -> tuple[Array, Array]:
            u = keys_lib.normal(own, (each, *shape), mean.dtype)
            return -energy(u) - _normal(u), jnp.full(each, jnp.nan)

        run = draws
        if temperatures:
            levels = {"levels": temperatures, "leapfrog_steps": leapfrog_steps}
            path = partition.find_path(jax.random.fold_in(key, _PATH), energy, shape, chains=_PILOTS, **levels)

            def run(own: Array) -> tuple[Array, Array]:
                found = partition.anneal(own, energy, shape, path, leapfrog_steps=leapfrog_steps)
                return found.log_weights, found.acceptance

        own = keys_lib.per_example(jax.random.fold_in(key, _RUNS if temperatures else _DRAWS), chunks * each)
        weights, accepted = run(own) if chunks == 1 else lax.map(run, own.reshape(chunks, each))
        return partition.of_weights(weights.reshape(-1)[:samples], accepted.reshape(-1)[:samples])

    found = jax.vmap(of_example)(keys, x, mean, std)
    return Evidence(found.log_z, found.stderr, found.ess, found.acceptance)


def _normal(z: Array) -> Array:
    """Log density of N(0, I), over the last axis."""
    return -0.5 * jnp.sum(z**2 + math.log(2.0 * math.pi), axis=-1)
