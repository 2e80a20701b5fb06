"""Fitting a variance head to a frozen network: NPR-DPM, SN-DPM (arXiv 2206.07309), optimal covariance matching."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.objectives.time_sampling import time_density, time_or_drawn
from scorejax.reverse.variance import HeadNetwork
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE

TARGETS = ("noise_residual", "squared_noise", "score_curvature")
NOISE, PROBE = range(2)  # streams of an example's key


def variance_head(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    *,
    head: HeadNetwork,
    target: str = "noise_residual",
    t: Array | None = None,
    time_sampling: str = "uniform",
) -> Array:
    """Return the squared error of a head, summed over coordinates, `[B]`; only the head receives gradients.

        noise_residual:   (noise - noise(x_t))^2                  for `variance.NoiseResidual`
        squared_noise:    noise^2                                 for `variance.SquaredNoise`
        score_curvature:  sigma_t^2 r (d score / dx) r, r = +-1   for `variance.ScoreCurvature`

    The minimizer is the expectation of the target given `x_t`, coordinate by coordinate; where the modes of the process
    differ, mode by mode, and `noise` is that of the modes.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)` of the frozen network, without dropout: with it the residual would be too large.
        x0: data in model units, `[B, ...]`.
        head: `head(x, t)`, the model to fit.
        target: one of the three above.
        t: times `[B]` drawn outside by `draw_times(..., time_sampling)`; drawn here if not given.
        time_sampling: how times are drawn: `uniform`, `stratified` or `importance`.

    Raises:
        ValueError: on an unknown target, or data, times, keys, a score or a head of another kind or shape.
    """
    if target not in TARGETS:
        raise ValueError(f"unknown target {target!r}; choose one of {', '.join(TARGETS)}")
    check_kind(sde, LinearSDE, "variance_head")
    x0 = doors.points(x0, "x0")
    t, rest = time_or_drawn(key, sde, x0.shape[0], t, time_sampling)
    keys = keys_lib.per_example(rest, x0.shape[0])
    noise = keys_lib.normal(keys_lib.fold_in(keys, NOISE), x0.shape, x0.dtype)
    x = sde.perturb(x0, t, noise)
    if target == "noise_residual":
        wanted = sde.own_modes(noise + sde.scale(sde.sigma(t), t, doors.field(x, score(x, t)))) ** 2
    elif target == "squared_noise":
        wanted = sde.own_modes(noise) ** 2
    else:
        # with random signs the diagonal of J is E[r * (J r)] (Hutchinson, coordinate by coordinate)
        signs = jax.vmap(lambda k: jax.random.rademacher(k, x0.shape[1:], x0.dtype))(keys_lib.fold_in(keys, PROBE))
        product = jax.jvp(lambda y: doors.field(y, score(y, t)), (x,), (sde.from_own_modes(signs),))[1]
        wanted = signs * sde.own_modes(sde.scale(sde.variance(t), t, product))
    error = doors.field(x, head(x, t), "a variance head") - lax.stop_gradient(wanted)
    return jnp.sum(error.reshape(x0.shape[0], -1) ** 2, axis=1) / time_density(sde, t, time_sampling)
