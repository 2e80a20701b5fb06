"""Predictions that are linear in the point and in its score: the velocity, and those of the mean one level below."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from scorejax.sdes.corruption import Time
from scorejax.sdes.discrete import Chain
from scorejax.sdes.linear import LinearSDE

CHAIN_PREDICTIONS = ("previous_mean", "mean_shift", "sharpening")
"""What a network may predict for a chain of levels alone."""
OF_SCORE = ("velocity", *CHAIN_PREDICTIONS)
"""What is given by its weights."""


def weights(sde: LinearSDE, t: Time, kind: str) -> tuple[Array, Array]:
    """Return the weights of `x_t` and of its score in a prediction.

    With the forward kernel `q(x_t | x_s) = N(a x_s, v)` from the level `s` below `t`, by Tweedie's formula,

        previous_mean = E[x_s | x_t] = x / a + (v / a) score
        mean_shift = (previous_mean - a x) / sqrt(v) = ((1 / a - a) x + (v / a) score) / sqrt(v)
        sharpening = alpha_s E[x_0 | x_t] - x = (1 / a - 1) x + (sigma_t^2 / a) score

    The last is what inverse heat dissipation learns (arXiv 2206.13397): the step to the clean signal one level below.
    Of any process with the drift `f x`,

        velocity = f x - g^2 score / 2

    Args:
        sde: the forward process, a chain of levels but for the velocity.
        t: times, of a chain those of levels, a scalar or `[B]`. Below the first level lie the data.
        kind: one of `CHAIN_PREDICTIONS`, or `velocity`, of any process.

    Raises:
        ValueError: the process has no levels.
    """
    if kind == "velocity":
        return sde.drift_rate(t), -0.5 * sde.diffusion_squared(t)
    if not isinstance(sde, Chain):
        raise ValueError(
            f"{kind} is of the mean one level below, and {type(sde).__name__} has no levels; take a chain (ddpm, smld, "
            "blur, ihdm)"
        )
    t = jnp.asarray(t, jnp.result_type(float))
    first = t * sde.levels < 1.5  # below it lie the data, even where the table goes on
    a, v = sde.transition(jnp.where(first, t, t - 1.0 / sde.levels), t)
    first = first.reshape(first.shape + (1,) * (a.ndim - first.ndim))
    a, v = jnp.where(first, sde.alpha(t), a), jnp.where(first, sde.variance(t), v)
    if kind == "sharpening":
        return 1.0 / a - 1.0, sde.variance(t) / a
    if kind == "previous_mean":
        return 1.0 / a, v / a
    return (1.0 - a) * (1.0 + a) / (a * jnp.sqrt(v)), jnp.sqrt(v) / a
