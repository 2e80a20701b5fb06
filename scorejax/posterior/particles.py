"""Weighted points of posteriors, and how they are drawn from, averaged and chosen anew."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import keys as keys_lib

FEW = 5.0
"""Fewer effective particles than these are too few to speak for a posterior."""


class Particles(NamedTuple):
    """B posteriors of N weighted points each: what `posterior.smc` returns.

    Attributes:
        x: points, `[B, N, ...]`.
        log_weights: logarithms of their weights, `[B, N]`, which sum to one.
        log_evidence: estimate of `log p(y)`, `[B]`, whose exponential is unbiased; in nats.
        ess: effective sample size as a share of N, before any resampling, at the times of the grid and in the end,
            `[n + 2, B]`.
        nfe: network evaluations, each on all B N points.
    """

    x: Array
    log_weights: Array
    log_evidence: Array
    ess: Array
    nfe: Array

    def draw(self, key: Array, n: int) -> Array:
        """Draw `n` points of each posterior with replacement, `[B, n, ...]`.

        Args:
            key: a typed PRNG key, or one per posterior `[B]`.
            n: how many.
        """
        keys = keys_lib.per_example(key, self.x.shape[0])
        which = jax.vmap(lambda key, logits: jax.random.categorical(key, logits, shape=(n,)))(keys, self.log_weights)
        return jax.vmap(lambda x, which: x[which])(self.x, which)

    def mean(self) -> Array:
        """Return the mean of each posterior, `[B, ...]`."""
        return jnp.einsum("bn,bn...->b...", jnp.exp(self.log_weights), self.x)

    def std(self) -> Array:
        """Return the standard deviation of every coordinate, `[B, ...]`."""
        offset = self.x - self.mean()[:, None]
        return jnp.sqrt(jnp.einsum("bn,bn...->b...", jnp.exp(self.log_weights), offset**2))

    def quantile(self, q: float | Array) -> Array:
        """Return the points below which a share `q` of each coordinate lies, `[B, ...]`."""
        order = jnp.argsort(self.x, axis=1)
        ordered = jnp.take_along_axis(self.x, order, axis=1)
        weights = jnp.exp(self.log_weights).reshape(*self.log_weights.shape, *[1] * (self.x.ndim - 2))
        passed = jnp.cumsum(jnp.take_along_axis(jnp.broadcast_to(weights, self.x.shape), order, axis=1), axis=1)
        first = jnp.argmax(passed >= q * passed[:, -1:], axis=1)
        return jnp.take_along_axis(ordered, first[:, None], axis=1)[:, 0]

    def remark(self) -> str:
        """Return what is to be said of the posteriors whose particles collapsed to a few; empty if none did."""
        number = self.x.shape[1]
        least = np.asarray(self.ess).min(axis=0)
        bad = least * number < min(FEW, 0.5 * number)
        if not np.any(bad):
            return ""
        worst = float(least.min())
        return (
            f"{int(bad.sum())} of {len(least)} posteriors rest on few particles: at the worst step "
            f"{worst * number:.1f} of {number} count ({worst:.1%}); take more particles, more steps or a better "
            "potential"
        )


def effective(log_weights: Array) -> Array:
    """Return the effective sample size as a share of the particles, `(sum w)^2 / (N sum w^2)`, over axis 0."""
    number = log_weights.shape[0]
    return jnp.exp(2.0 * jax.nn.logsumexp(log_weights, axis=0) - jax.nn.logsumexp(2.0 * log_weights, axis=0)) / number


def systematic(keys: Array, log_weights: Array) -> Array:
    """Return which particles to go on with, `[N, B]`: systematic resampling of weights `[N, B]`, unbiased.

    A particle of weight w is taken `N w` times, rounded up or down.

    Args:
        keys: one per posterior, `[B]`.
        log_weights: `[N, B]`.
    """
    number = log_weights.shape[0]

    def one(key: Array, logits: Array) -> Array:
        passed = jnp.cumsum(jax.nn.softmax(logits))
        places = (jnp.arange(number) + jax.random.uniform(key)) / number
        return jnp.clip(jnp.searchsorted(passed / passed[-1], places), 0, number - 1)

    return jax.vmap(one, in_axes=(0, 1), out_axes=1)(keys, log_weights)
