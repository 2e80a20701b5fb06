"""The trace of a score's Jacobian: summed exactly, or estimated by Hutchinson's random vectors."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from scorejax import keys as keys_lib
from scorejax.score import Score

DIVERGENCES = ("exact", "rademacher", "gaussian")


def check_divergence(divergence: str, probes: int) -> str:
    """Return the name in `DIVERGENCES`; `hutchinson` is another word for `rademacher`.

    Raises:
        ValueError: on an unknown name or fewer than one probe.
    """
    divergence = "rademacher" if divergence == "hutchinson" else divergence
    if divergence not in DIVERGENCES:
        raise ValueError(f"unknown divergence {divergence!r}; choose one of {', '.join(DIVERGENCES)}")
    if probes < 1:
        raise ValueError(f"the divergence needs at least one probe, got {probes}")
    return divergence


def probe_vectors(keys: Array, x: Array, divergence: str, probes: int) -> Array:
    """Return vectors `[B, k, ...]`: every unit vector for the exact trace, else with identity covariance."""
    if divergence == "exact":
        units = jnp.eye(math.prod(x.shape[1:]), dtype=x.dtype).reshape(-1, *x.shape[1:])
        return jnp.broadcast_to(units, (x.shape[0], *units.shape))
    shape = (x.shape[0], probes, *x.shape[1:])
    if divergence == "gaussian":
        return keys_lib.normal(keys, shape, x.dtype)
    return jax.vmap(lambda key: jax.random.rademacher(key, shape[1:], x.dtype))(keys)


def score_and_products(score: Score) -> Callable[[Array, Array, Array], tuple[Array, Array]]:
    """Return `(x [B, ...], t [B], vectors [B, k, ...]) -> (score [B, ...], its Jacobian times each vector)`.

    Examples do not see each other, so one product with a vector per example serves the whole batch.
    """

    def products(x: Array, t: Array, vectors: Array) -> tuple[Array, Array]:
        if vectors.shape[1] == 1:
            value, product = jax.jvp(lambda y: score(y, t), (x,), (vectors[:, 0],))
            return value, product[:, None]
        value, push = jax.linearize(lambda y: score(y, t), x)
        return value, jax.vmap(push, in_axes=1, out_axes=1)(vectors)

    return products
