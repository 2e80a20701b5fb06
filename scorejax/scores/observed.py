"""Scores of points with missing numbers: the marginal law of the known ones, next to a normal law of the others."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.scores.predictions import Score, as_score
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE


def observed(sde: LinearSDE, score: Score, known: Array, *, spread: float = 1.0) -> Score:
    """Return the score of the known numbers' law times `N(0, spread^2)` for each of the others.

    A model that is given NaN for what is missing, and was trained on what is known alone, has there the score of the
    marginal law of the known numbers. The others have `-x / (alpha_t^2 spread^2 + sigma_t^2)`, so that they change
    neither the known ones nor a density, but for a factor that is known exactly: see `missing_log_prob`.

    Args:
        sde: the forward process, which treats each number by itself.
        score: takes points `[B, ...]` with NaN for what is missing.
        known: bool `[B, ...]`.
        spread: standard deviation of the others' law; with 0, noise added to zeros is predicted exactly, so that
            they add nothing to a denoising loss.

    Raises:
        ValueError: a process that mixes numbers.
    """
    if check_kind(sde, LinearSDE, "observed").by_modes:
        raise ValueError(f"{type(sde).__name__} mixes what is known with what is missing in its modes; take vp or ve")
    return Partial(_observed, sde, as_score(score), known, spread)


def missing_log_prob(sde: LinearSDE, prior: str = "marginal") -> Array:
    """Return what `likelihood.log_prob` of a score of `observed` counts for each missing number that is put at zero.

    It is `log p_T(0) + log(v_T / v_0) / 2`, with `v_t = alpha_t^2 + sigma_t^2`: the flow leaves a zero where it is.
    """
    first, last = (jnp.asarray(t) for t in (sde.t_min, sde.t_max))
    end = jnp.log(sde.variance(last)) if prior == "marginal" else 0.0
    return -0.5 * (math.log(2 * math.pi) + end) + 0.5 * (jnp.log(_spread(sde, 1.0, last) / _spread(sde, 1.0, first)))


def _spread(sde: LinearSDE, spread: float | Array, t: Array) -> Array:
    return (spread * sde.alpha(t)) ** 2 + sde.variance(t)


def _observed(sde: LinearSDE, score: Score, known: Array, spread: float | Array, x: Array, t: Array) -> Array:
    rest = -sde.scale(1 / _spread(sde, spread, t), t, x)
    return jnp.where(known, score(jnp.where(known, x, jnp.nan), t), rest)
