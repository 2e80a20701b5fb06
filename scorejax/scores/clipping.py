"""Scores whose posterior mean lies where data lie: `score + alpha_t / sigma_t^2 (clip(x0) - x0)`.

Networks and the gradients of guidance err most at the noisiest times, where an error is divided by `alpha_t`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.numerics import doors
from scorejax.numerics.trees import as_pytree, register_dataclass
from scorejax.scores.predictions import Score, as_score, tweedie
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE

Interval: TypeAlias = tuple[float, float]
Clip: TypeAlias = Callable[[Array], Array]
"""`clip(data [B, ...])`: predicted data moved to where data lie, and unchanged if they lie there."""


@register_dataclass
@dataclass(frozen=True)
class Range:
    """Every coordinate clipped to `[low, high]`."""

    low: float | Array
    high: float | Array

    def __call__(self, data: Array) -> Array:
        return jnp.clip(data, self.low, self.high)


@register_dataclass
@dataclass(frozen=True)
class DynamicThreshold:
    """An example that leaves `[low, high]` by more than a share of its coordinates, shrunk about the center."""

    low: float | Array
    high: float | Array
    quantile: float | Array

    def __call__(self, data: Array) -> Array:
        center, half = 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
        away = (data - center).reshape(data.shape[0], -1)
        size = jnp.quantile(jnp.abs(away), self.quantile, axis=1) / half
        size = size.reshape(-1, *[1] * (data.ndim - 1))
        # where nothing is to be shrunk, data that lie inside keep their last digit
        return jnp.where(
            size > 1.0,
            center + jnp.clip(data - center, -half * size, half * size) / jnp.maximum(size, 1.0),
            jnp.clip(data, self.low, self.high),
        )


def dynamic_threshold(bounds: Interval = (-1.0, 1.0), *, quantile: float = 0.995) -> DynamicThreshold:
    """Return dynamic thresholding of predicted data, a `clip` of `scorejax.sample` (Imagen, arXiv 2205.11487).

        center + clip(x0 - center, -s half, s half) / s,   s = max(quantile of |x0 - center| / half, 1) of each example

    Strong guidance pushes many pixels over the ends of the range; where plain clipping leaves them all there, this
    gives them back their differences.

    Args:
        bounds: (low, high), in the units of the data.
        quantile: in (0, 1]; 0.995 as published.

    Raises:
        ValueError: unless the bounds are two numbers with `low < high`, and the quantile is one.
    """
    low, high = doors.interval(bounds, "dynamic_threshold: bounds")
    if doors.known(quantile) and not 0.0 < quantile <= 1.0:
        raise ValueError(f"dynamic_threshold: quantile must lie in (0, 1], e.g. 0.995, got {quantile}")
    return DynamicThreshold(low, high, quantile)


def clipped(sde: LinearSDE, score: Score, clip: Interval | Clip = (-1.0, 1.0)) -> Score:
    """Return the score with its posterior mean clipped to the interval that every coordinate of the data lies in.

        score + alpha_t / sigma_t^2 (clip(x0) - x0),   x0 = (x_t + sigma_t^2 score) / alpha_t

    A mean of images lies where images lie, under every condition. So the exact score of bounded data passes
    unchanged, and so does its exact score given a class or a measurement. What a network gets wrong, and the gradient
    of that, are divided by `alpha_t`: at the noisiest times guidance can be many times the score, and here is at most
    `alpha_t / sigma_t^2` times the width of the interval. Put it around the guided score, not the network's:

        clipped(sde, pigdm(sde, score, operator, y, sigma_y))

    Clipping of predicted data in DDPM's samplers (arXiv 2006.11239), for every sampler; `scorejax.sample` does it with
    its argument `clip`. The result is continuous, with kinks; likelihoods are those of the score as it is.

    Args:
        sde: the forward process.
        score: any score of it.
        clip: (low, high), in the units of the data, or a function of predicted data, such as `dynamic_threshold()`, or
            `lambda data: jnp.clip(data, low, high)` for bounds of each coordinate.

    Raises:
        ValueError: unless the bounds are two numbers with `low < high`.
    """
    check_kind(sde, LinearSDE, "clipping of predicted data")
    return Partial(_clipped, sde, as_score(score), as_clip(clip, "clipped: bounds"))


def as_clip(clip: Interval | Clip, name: str = "clip: bounds") -> Clip:
    """Return bounds, or a function of predicted data, as a pytree.

    Raises:
        ValueError: unless the bounds are two numbers with `low < high`.
    """
    return as_pytree(clip if callable(clip) else Range(*doors.interval(clip, name)))


def clipped_data(restore: Score, clip: Interval | Clip) -> Score:
    """Return a prediction of data `(x, t) -> x_0`, such as a restoration, held where data lie; `clip` as of `clipped`.

    Raises:
        ValueError: as `clipped`.
    """
    return Partial(_clipped_data, as_score(restore), as_clip(clip))


def _clipped_data(restore: Score, clip: Clip, x: Array, t: Array) -> Array:
    return clip(restore(x, t))


def _clipped(sde: LinearSDE, score: Score, clip: Clip, x: Array, t: Array) -> Array:
    value = score(x, t)
    data = tweedie(sde, x, t, value)
    return value + sde.scale(sde.alpha(t) / sde.variance(jnp.asarray(t)), t, clip(data) - data)
