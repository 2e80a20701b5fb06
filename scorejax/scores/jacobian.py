"""The products `J v` of a score's Jacobian, and the random directions with `E[v v^T] = I` that estimate its trace."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.scores.predictions import Score

PROJECTIONS = ("rademacher", "gaussian", "sphere")


def draw(keys: Array, x: Array, projection: str = "rademacher", probes: int = 1) -> Array:
    """Draw vectors `v [B, k, ...]` with `E[v v^T] = I`, so that `E[v^T J v] = tr J`.

    At fixed `x`, with `A` the symmetric part of `J`, one probe has the variance `2 (|A|^2 - sum_i a_ii^2)`
    (`rademacher`), `2 |A|^2` (`gaussian`) or `2 D / (D + 2) (|A|^2 - tr(A)^2 / D)` (`sphere`, of radius sqrt(D)).

    Args:
        keys: one key per example, `[B]`.
        x: the points, `[B, ...]`; only their shape and type matter.
        projection: `rademacher`, `gaussian` or `sphere`.
        probes: `k`, vectors for each example.

    Raises:
        ValueError: on an unknown projection or fewer than one probe.
    """
    if projection not in PROJECTIONS:
        raise ValueError(f"unknown projection {projection!r}; choose one of {', '.join(PROJECTIONS)}")
    if probes < 1:
        raise ValueError(f"at least one probe is needed, got probes={probes}")
    shape = (x.shape[0], probes, *x.shape[1:])
    if projection == "rademacher":
        return jax.vmap(lambda key: jax.random.rademacher(key, shape[1:], x.dtype))(keys)
    vectors = keys_lib.normal(keys, shape, x.dtype)
    if projection == "gaussian":
        return vectors
    squares = jnp.sum(vectors**2, axis=tuple(range(2, x.ndim + 1)), keepdims=True)
    return vectors * jnp.sqrt(math.prod(x.shape[1:]) / squares)


def value_and_products(function: Callable[[Array], Array], x: Array, vectors: Array) -> tuple[Array, Array]:
    """Return `function(x) [B, ...]` and its Jacobian times each of the vectors `[B, k, ...]`.

    Examples do not see each other, so one product with a vector per example serves the whole batch; for several
    vectors the function is linearized once.
    """
    if vectors.shape[1] == 1:
        value, product = jax.jvp(function, (x,), (vectors[:, 0],))
        return value, product[:, None]
    value, push = jax.linearize(function, x)
    return value, jax.vmap(push, in_axes=1, out_axes=1)(vectors)


def score_and_products(score: Score) -> Callable[[Array, Array, Array], tuple[Array, Array]]:
    """Return `(x [B, ...], t [B], vectors [B, k, ...]) -> (score [B, ...], its Jacobian times each vector)`."""

    def products(x: Array, t: Array, vectors: Array) -> tuple[Array, Array]:
        return value_and_products(lambda y: doors.field(y, score(y, t)), x, vectors)

    return products
