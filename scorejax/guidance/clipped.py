"""Scores whose posterior mean lies where data lie: `score + alpha_t / sigma_t^2 (clip(x0) - x0)`.

Networks and the gradients of guidance err most at the noisiest times, where an error is divided by `alpha_t`.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.numerics import doors
from scorejax.samplers.driver import as_score
from scorejax.scores.predictions import Score, tweedie
from scorejax.sdes.linear import LinearSDE


def clipped(sde: LinearSDE, score: Score, bounds: tuple[float, float] = (-1.0, 1.0)) -> Score:
    """Return the score with its posterior mean clipped to the interval that every coordinate of the data lies in.

        score + alpha_t / sigma_t^2 (clip(x0) - x0),   x0 = (x_t + sigma_t^2 score) / alpha_t

    A mean of images lies where images lie, under every condition. So the exact score of bounded data passes
    unchanged, and so does its exact score given a class or a measurement. What a network gets wrong, and the gradient
    of that, are divided by `alpha_t`: at the noisiest times guidance can be many times the score, and here is at most
    `alpha_t / sigma_t^2` times the width of the interval. Put it around the guided score, not the network's:

        clipped(sde, pigdm(sde, score, operator, y, sigma_y))

    Clipping of predicted data in DDPM's samplers (arXiv 2006.11239), for every sampler. The result is continuous, with
    kinks; adaptive solvers and likelihoods want the smooth one.

    Args:
        sde: the forward process.
        score: any score of it.
        bounds: (low, high), in the units of the data.

    Raises:
        ValueError: unless `low < high`.
    """
    low, high = bounds
    if doors.known(low, high) and not low < high:
        raise ValueError(f"clipped: bounds must be (low, high) with low < high, got {bounds}")
    return Partial(_clipped, sde, as_score(score), low, high)


def _clipped(sde: LinearSDE, score: Score, low: Array, high: Array, x: Array, t: Array) -> Array:
    value = score(x, t)
    data = tweedie(sde, x, t, value)
    return value + sde.scale(sde.alpha(t) / sde.variance(t), t, jnp.clip(data, low, high) - data)
