"""The two experts of image translation by energies (EGSDE, arXiv 2207.06635), for `experts`.

`sdedit(key, sde, experts(score, [realistic(...), faithful(...)], [500.0, 2.0]), source, t0, ...)` is EGSDE.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.guidance.experts import Scalar
from scorejax.numerics import doors
from scorejax.numerics.trees import as_pytree
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE


def faithful(sde: LinearSDE, low_pass: Callable[[Array], Array], source: Array) -> Scalar:
    """Return the energy `|P (x - E[source_t])|^2 = |P (x - alpha_t source)|^2`: keep the low frequencies.

    The expectation over the noise of `source_t` is exact: it adds a constant, which no gradient sees.

    Args:
        sde: the forward process.
        low_pass: the linear map `P`, `[B, ...] -> [B, ...]`.
        source: the images to stay close to, `[B, ...]`.
    """
    check_kind(sde, LinearSDE, "faithful")
    return Partial(_faithful, as_pytree(low_pass), sde, doors.points(source, "source"))


def realistic(sde: LinearSDE, features: Callable[[Array, Array], Array], source: Array, noise: Array) -> Scalar:
    """Return the energy `mean_hw cos(F(x, t), F(source_t, t))`: lose what marks the source's domain.

    Args:
        sde: the forward process.
        features: `F(x, t) -> [B, ..., C]`, of a classifier of domains that knows `t`.
        source: the images to move away from, `[B, ...]`.
        noise: the standard normal noise of `source_t`, shaped like `source`.
    """
    check_kind(sde, LinearSDE, "realistic")
    return Partial(_realistic, as_pytree(features), sde, doors.points(source, "source"), noise)


def _faithful(low_pass: Callable[[Array], Array], sde: LinearSDE, source: Array, x: Array, t: Array) -> Array:
    difference = low_pass(x - sde.scale(sde.alpha(t), t, source))
    return jnp.sum(difference.reshape(x.shape[0], -1) ** 2, axis=1)


def _realistic(
    features: Callable[[Array, Array], Array], sde: LinearSDE, source: Array, noise: Array, x: Array, t: Array
) -> Array:
    first, second = features(x, t), features(sde.perturb(source, t, noise), t)
    # a plain norm has no derivative at zero
    tiny = jnp.finfo(x.dtype).tiny
    squares = jnp.maximum(jnp.sum(first**2, -1), tiny) * jnp.maximum(jnp.sum(second**2, -1), tiny)
    cosine = jnp.sum(first * second, -1) / jnp.sqrt(jnp.maximum(squares, tiny))
    return jnp.mean(cosine.reshape(x.shape[0], -1), axis=1)
