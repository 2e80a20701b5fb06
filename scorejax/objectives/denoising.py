"""Denoising score matching: the squared error of `-sigma_t score(x_t, t)` as a prediction of the noise in `x_t`.

It is DDPM's and SMLD's objective on a chain of levels, and Score-SDE's in continuous time.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.objectives.time_sampling import time_density, time_or_drawn
from scorejax.objectives.weighting import Weighting, reduction_factor, weight
from scorejax.scores.predictions import Score
from scorejax.sdes.linear import LinearSDE


def denoising(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    *,
    t: Array | None = None,
    time_sampling: str = "uniform",
    weighting: Weighting = "simple",
    reduction: str = "mean",
) -> Array:
    """Return the denoising score matching loss of each example, `[B]` (Vincent 2011; Score-SDE eq. 7).

        loss_b = w(t) / p(t) * reduce( (sigma_t score(x_t, t) + noise)^2 ),   x_t = alpha_t x_0 + sigma_t noise

    Its minimizer is the score of the diffused data. For a discrete chain the times are its levels, which makes
    this the DDPM or SMLD objective. `p` is the density of the time sampler relative to uniform times, so the
    expectation does not depend on the sampler.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`, the model's.
        x0: data, `[B, ...]`, in model units.
        t: times `[B]` drawn outside by `draw_times(..., time_sampling)`; drawn here if not given.
        time_sampling: how times are drawn: `uniform`, `stratified` or `importance`.
        weighting: a name in `WEIGHTINGS`, or any function `(sde, t) -> [B]` (`[B, ...]` for a weight per mode).
        reduction: over an example's dimensions: `mean`, `sum` or `half_sum`.

    Raises:
        ValueError: on an unknown name, or data, times, keys or a score of another kind or shape.
    """
    x0 = doors.points(x0, "x0")
    t, noise_key = time_or_drawn(key, sde, x0.shape[0], t, time_sampling)
    noise = keys_lib.normal(keys_lib.per_example(noise_key, x0.shape[0]), x0.shape, x0.dtype)
    error = sde.scale(sde.sigma(t), t, doors.field(x0, score(sde.perturb(x0, t, noise), t))) + noise
    # the root of the weight is applied in the modes, so that a weight per mode is one too
    weighted = sde.scale(jnp.sqrt(weight(weighting, sde, t)), t, error)
    total = jnp.sum(weighted.reshape(x0.shape[0], -1) ** 2, axis=1)
    return reduction_factor(reduction, x0.shape[1:]) * total / time_density(sde, t, time_sampling)
