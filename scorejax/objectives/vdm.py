"""The variational bound in continuous time (variational diffusion models, arXiv 2107.00630)."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.likelihood.decoder import data_points, level_points
from scorejax.likelihood.elbo import prior_term
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Positive
from scorejax.objectives.time_sampling import divided_out, time_density, time_or_drawn
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE

NOISE, END = range(2)  # streams of an example's key


def continuous_vlb(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    *,
    levels: int | None = None,
    centered: bool = True,
    endpoints: bool = False,
    time_sampling: str = "uniform",
    t: Array | None = None,
    prior_variance: Positive | None = 1.0,
) -> Array:
    """Return an unbiased estimate of the bound on `-log p(x_0)` in bits/dim, `[B]`, for any process.

        -1/2 int d log SNR / dt E |noise - noise(x_t)|^2 dt + KL(q(x_T | x_0) || p(x_T)) - E log p(x_0 | x_{t_min})

    The integral depends on the process only through its ends: for a `learned` process, differentiate by the process
    to learn them (give `score` the same one). The decoder takes `x_{t_min} / alpha` for the data, with the noise it
    has: over the levels it is normalized, for continuous data it is a Gaussian density.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`, the model's.
        x0: data `[B, ...]`: integer levels, or points of model space (moved to their levels if there are any).
        levels: number of gray levels; None for continuous data.
        centered: model space is [-1, 1) instead of [0, 1).
        endpoints: level `k` lies at `k / (levels - 1)`.
        time_sampling: how times are drawn: `uniform`, `stratified` or `importance`.
        t: times `[B]` drawn outside by `draw_times(..., time_sampling)`; drawn here if not given.
        prior_variance: variance of the prior; None for that of the process at its end.

    Raises:
        ValueError: on data, times, keys or a score of another kind or shape.
    """
    check_kind(sde, LinearSDE, "continuous_vlb")
    divided_out(time_sampling, "a bound")
    points = data_points(x0, levels, centered=centered, endpoints=endpoints)
    t, rest = time_or_drawn(key, sde, points.shape[0], t, time_sampling)
    keys = keys_lib.per_example(rest, points.shape[0])
    noise = keys_lib.normal(keys_lib.fold_in(keys, NOISE), points.shape, points.dtype)
    error = sde.scale(sde.sigma(t), t, doors.field(points, score(sde.perturb(points, t, noise), t))) + noise
    rate = sde.diffusion_squared(t) / sde.variance(t)  # -d log SNR / dt
    # rounding may make the rate slightly negative where the schedule is flat
    weighted = sde.scale(jnp.sqrt(jnp.maximum(rate, 0.0)), t, error)
    diffusion = 0.5 * (sde.t_max - sde.t_min) * _sum(weighted**2) / time_density(sde, t, time_sampling)
    last = sde.variance(jnp.asarray(sde.t_max)) if prior_variance is None else jnp.asarray(prior_variance)
    prior = prior_term(sde, points, sde.t_max, last)
    end = keys_lib.normal(keys_lib.fold_in(keys, END), points.shape, points.dtype)
    decoder = _decoder(sde, points, end, levels, centered, endpoints)
    return (diffusion + prior + decoder) / (math.prod(points.shape[1:]) * math.log(2.0))


def _decoder(sde: LinearSDE, points: Array, noise: Array, levels: int | None, centered: bool, endpoints: bool) -> Array:
    """Return `-log p(x_0 | x_{t_min})` in nats, `[B]`, from the noise in `x_{t_min}`."""
    scale = jnp.exp(-0.5 * sde.log_snr(sde.t_min))
    if levels is None:
        return _sum(jnp.broadcast_to(0.5 * noise**2 + jnp.log(scale) + 0.5 * math.log(2.0 * math.pi), points.shape))
    if sde.by_modes:
        raise ValueError(
            f"the probability of gray levels under the noise of {type(sde).__name__}, which differs between the modes "
            "of an image, has no closed form; train by denoising, and measure bits by log_prob"
        )
    values = level_points(jnp.arange(levels), levels, centered=centered, endpoints=endpoints)
    seen = points + scale * noise
    logits = -0.5 * ((seen[..., None] - values) / scale) ** 2
    own = -0.5 * noise**2
    return _sum(jax.nn.logsumexp(logits, axis=-1) - own)


def _sum(values: Array) -> Array:
    return jnp.sum(values.reshape(values.shape[0], -1), axis=1)
