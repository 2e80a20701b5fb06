"""Denoising errors over levels of noise: where a network is good, and the density that the errors amount to."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.scores.predictions import Score, as_score, tweedie
from scorejax.sdes.corruption import check_kind, check_moves
from scorejax.sdes.linear import LinearSDE

LEVELS = 16
LEAST, MOST = 0.002, 80.0
"""Smallest and largest ratio of noise to signal, in deviations of the data."""


class DenoisingErrors(NamedTuple):
    """Squared errors of the predicted data.

    Attributes:
        log_ratio: `log(sigma / alpha)` of every level, rising, `[T]`.
        error: mean over the dimensions of `(x_0 - E[x_0 | x_t])^2`, `[B, T]`.
    """

    log_ratio: Array
    error: Array

    @property
    def noise_error(self) -> Array:
        """The same of the predicted noise: the error over `(sigma / alpha)^2`, `[B, T]`."""
        return self.error * jnp.exp(-2.0 * self.log_ratio)


def denoising_levels(sde: LinearSDE, levels: int = LEVELS, *, deviation: float = 1.0) -> Array:
    """Return `log(sigma / alpha)` of evenly spaced levels, `[levels]`: from .002 to 80 deviations of the data.

    Of these the part that the process has between `t_min` and `t_max`.

    Raises:
        ValueError: a process with a ratio for every mode, which has no levels of noise.
    """
    check_moves(check_kind(sde, LinearSDE, "denoising_levels"), "denoising_levels")
    if sde.by_modes:
        raise ValueError(
            f"{type(sde).__name__} has a signal-to-noise ratio for every mode, and so no levels of noise for all of "
            "them; take a process with one ratio, such as sj.vp()."
        )
    ends = [-0.5 * sde.log_snr(jnp.asarray(t, jnp.result_type(float))) for t in (sde.t_min, sde.t_max)]
    low = jnp.maximum(ends[0], math.log(LEAST * deviation))
    return jnp.linspace(low, jnp.minimum(ends[1], math.log(MOST * deviation)), levels)


def denoising_errors(key: Array, sde: LinearSDE, score: Score, x: Array, log_ratio: Array) -> DenoisingErrors:
    """Return how far the data predicted from noisy examples are from the examples, level by level.

        e(t) = |x_0 - (x_t + sigma^2 score(x_t, t)) / alpha|^2 / D,   x_t = alpha x_0 + sigma noise

    Args:
        key: one key, or one per example `[B]`; the noise of a level depends on the key and the number of the level.
        sde: the forward process.
        score: `score(x, t)`.
        x: examples in model space, `[B, ...]`.
        log_ratio: of `denoising_levels`, `[T]`.

    Raises:
        ValueError: examples that are not floating numbers, or a process that has no single ratio.
    """
    check_kind(sde, LinearSDE, "denoising_errors")
    x = doors.points(x)
    return _errors(keys_lib.per_example(key, x.shape[0]), sde, as_score(score), x, jnp.asarray(log_ratio, x.dtype))


@partial(jax.jit)
def _errors(each: Array, sde: LinearSDE, score: Score, x: Array, log_ratio: Array) -> DenoisingErrors:
    times = sde.inverse_log_snr(-2.0 * log_ratio)

    def at(level: tuple[Array, Array]) -> Array:
        number, time = level
        t = jnp.full(len(x), time, x.dtype)
        noise = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, number), x.shape[1:], x.dtype))(each)
        noisy = sde.perturb(x, t, noise)
        gap = (x - tweedie(sde, noisy, t, score(noisy, t))).reshape(len(x), -1)
        return jnp.mean(jnp.square(gap), axis=1)

    return DenoisingErrors(log_ratio, jax.lax.map(at, (jnp.arange(len(times)), times)).T)


def density_of_errors(errors: DenoisingErrors) -> Array:
    """Return the log density that denoising errors amount to, nats per dimension, `[B]`.

        -log p(x) / D <= log(2 pi e) / 2 - int [1 / (1 + s) - e] s d log r,   s = r^-2 = alpha^2 / sigma^2

    An equality in the mean over examples for a perfect denoiser (Guo, Shamai and Verdu 2005; Kong et al. 2023), by the
    trapezoidal rule over the levels: sixteen from .002 to 80 deviations are within 1e-4 nats per dimension for smooth
    laws. Below the first and above the last level errors are taken to be those of a standard normal law.

    Args:
        errors: of `denoising_errors`.
    """
    s = jnp.exp(-2.0 * errors.log_ratio)
    gain = (1.0 / (1.0 + s) - errors.error) * s
    return jnp.trapezoid(gain, errors.log_ratio, axis=1) - 0.5 * math.log(2.0 * math.pi * math.e)
