"""The variational bound of a reverse chain (Sohl-Dickstein et al. 2015, DDPM), term by term:

    KL(q(x_T | x_0) || p(x_T)) + sum KL(q(x_s | x_t, x_0) || p(x_s | x_t)) - log p(x_0 | x_min)

Every divergence is between Gaussians and has a closed form; only the noise in `x_t` is drawn.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.likelihood.decoder import CDFS, data_points, gaussian_log_prob, level_log_prob
from scorejax.likelihood.gray_levels import check_examples
from scorejax.likelihood.prior import drawn_prior_term, noise_variance
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.reverse import ReverseChain, Transition, transition
from scorejax.scores.predictions import Score, tweedie
from scorejax.scores.self_conditioning import of_point_and_time
from scorejax.sdes.corruption import Time, check_kind, check_moves, per_batch
from scorejax.sdes.discrete import Chain
from scorejax.sdes.float64 import evaluate
from scorejax.sdes.linear import LinearSDE

_WHICH = 2**32 - 1  # the stream that draws which terms to compute; step i draws from stream i


class Elbo(NamedTuple):
    """A bound in bits per dimension, one entry per example; `total` is the sum of the others.

    Attributes:
        total: `[B]`, at least the bits per dimension of the model on average over its noise.
        prior: `[B]`, the end of the chain against the prior.
        kl: `[B, K - 1]`, the steps from the prior down; of a subset `[B, terms]`, weighted so that their sum is
            unbiased.
        decoder: `[B]`, the data given the last time; for continuous data a density, in model units.
    """

    total: Array
    prior: Array
    kl: Array
    decoder: Array


def elbo(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    chain: ReverseChain,
    *,
    levels: int | None = None,
    centered: bool = True,
    endpoints: bool = False,
    cdf: str = "exact",
    decoder_variance: float | None = None,
    prior_variance: float | None = None,
    terms: int | None = None,
    proposal: Array | np.ndarray | None = None,
) -> Elbo:
    """Return an unbiased estimate of the variational bound of a reverse chain on `-log p(x_0)`.

        KL(q(x_T | x_0) || p(x_T)) + sum KL(q(x_s | x_t, x_0) || p(x_s | x_t)) - log p(x_0 | x_min)

    (DDPM, arXiv 2006.11239, eq. 5, on any sub-trajectory; every KL term in closed form.) One noise draw for each
    example and time; one compiled scan, K network evaluations.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`.
        x0: data `[B, ...]`: with `levels` gray levels, integers; without it points of model space.
        chain: from `scorejax.reverse.chain`; what it clips is clipped here.
        levels: number of gray levels; None for continuous data, whose decoder is a density.
        centered: model space is [-1, 1) instead of [0, 1).
        endpoints: level `k` lies at `k / (levels - 1)`, as in the published code, not in the middle of its bin.
        cdf: `exact` or `tanh`, of the discretized decoder.
        decoder_variance: variance of `p(x_0 | x_min)`; default `sigma^2` of the last time, or from the first level of a
            chain the published one, where that fits (`decoder_variances`). Heads of a step's variance (`LearnedRange`,
            `AroundForward`) make it of these two, as published.
        prior_variance: variance of `p(x_T)`; default `sde.variance(sde.t_max)`. Published numbers take 1.
        terms: compute only so many KL terms per example, drawn with replacement.
        proposal: probabilities `[K - 1]` of drawing them; uniform if not given.

    Raises:
        ValueError: where the bound is infinite (`eta = 0`), or on data, keys, a score or other arguments that do not
            fit.
    """
    check_kind(sde, LinearSDE, "the variational bound")
    if levels is not None:
        x0 = check_examples(x0, levels, "x0")  # a bound in bits per level is no bound of what lies between the levels
    check_moves(sde, "the variational bound")
    points = data_points(x0, levels, centered=centered, endpoints=endpoints)
    if not doors.known(chain.steps):
        raise ValueError(
            "the variational bound reads the numbers of its chain, which are unknown here: the chain is an argument of "
            "a compiled program; close over it instead"
        )
    posterior, forward = np.asarray(chain.steps.posterior), np.asarray(chain.steps.forward)
    if not np.all((posterior > 0.0) | (forward == 0.0)):
        raise ValueError(
            "the variational bound is infinite: a step of the forward family has no noise (eta = 0, DDIM); use "
            "eta > 0, or log_prob for the exact likelihood of the probability-flow ODE"
        )
    if cdf not in CDFS:
        raise ValueError(f"unknown cdf {cdf!r}; choose one of {', '.join(CDFS)}")
    last = float(chain.steps.s[-1])
    numbers = (
        decoder_variances(sde, last, chain) if decoder_variance is None else np.full(2, decoder_variance),
        noise_variance(sde) if prior_variance is None else jnp.asarray(prior_variance),
    )
    return _elbo(
        keys_lib.per_example(key, points.shape[0]), sde, of_point_and_time(score, "elbo"), points, chain, last, numbers,
        _proposal(proposal, terms, len(posterior)),
        levels=levels, centered=centered, endpoints=endpoints, cdf=cdf, terms=terms,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("levels", "centered", "endpoints", "cdf", "terms"))
def _elbo(
    keys: Array,
    sde: LinearSDE,
    score: Score,
    points: Array,
    chain: ReverseChain,
    last: Array,
    numbers: tuple[Array, Array | None],
    proposal: Array,
    *,
    levels: int | None,
    centered: bool,
    endpoints: bool,
    cdf: str,
    terms: int | None,
) -> Elbo:
    count = np.shape(chain.steps.t)[0]
    batch = jnp.zeros(points.shape[0], jnp.int32)

    def term(stream: Array, which: Array) -> Array:
        noise = keys_lib.normal(keys_lib.fold_in(keys, stream), points.shape, points.dtype)
        step = chain.step(which)
        x = sde.scale(step.alpha, step.t, points) + sde.scale(step.sigma, step.t, noise)
        return kl_term(chain, step, sde, score, points, x)

    # one term after the other, so that the memory is that of one batch
    if terms is None:
        kl = jax.lax.map(lambda i: term(i, batch + i), jnp.arange(count)).T
    else:
        draw = jax.vmap(lambda key: jax.random.choice(key, count, (terms,), p=proposal))
        which = draw(keys_lib.fold_in(keys, _WHICH))
        kl = jax.lax.map(lambda i: term(i, which[:, i]), jnp.arange(terms)).T
        kl = kl / (terms * proposal[which])
    noise = keys_lib.normal(keys_lib.fold_in(keys, count), points.shape, points.dtype)
    decoder = -decoder_log_prob(
        chain, sde, score, points, sde.perturb(points, last, noise), last, numbers[0],
        levels=levels, centered=centered, endpoints=endpoints, cdf=cdf,
    )  # fmt: skip
    if numbers[1] is None:
        noise = keys_lib.normal(keys_lib.fold_in(keys, count + 1), points.shape, points.dtype)
        prior = drawn_prior_term(sde, points, chain.steps.t[0], noise)
    else:
        prior = prior_term(sde, points, chain.steps.t[0], numbers[1])
    bits = 1.0 / (math.prod(points.shape[1:]) * math.log(2.0))
    prior, kl, decoder = bits * prior, bits * kl, bits * decoder
    return Elbo(prior + jnp.sum(kl, axis=1) + decoder, prior, kl, decoder)


def kl_term(chain: ReverseChain, step: Transition, sde: LinearSDE, score: Score, x0: Array, x: Array) -> Array:
    """Return `KL(q(x_s | x_t = x, x_0) || p(x_s | x_t = x))` in nats, `[B]`.

    Args:
        chain: what `p` is.
        step: the step from `t` to `s`, its fields numbers or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`.
        x0: points of model space, `[B, ...]`.
        x: points of `q(x_t | x_0)`, shaped like `x0`.
    """
    mean, variance = chain.predict(sde, score, x, step)
    error = sde.scale(step.x, step.t, x) + sde.scale(step.data, step.t, x0) - mean
    return gaussian_kl(sde, step.t, error, step.posterior, variance)


def gaussian_kl(sde: LinearSDE, t: Time, error: Array, variance: Array, other: Array) -> Array:
    """Return `KL(N(m, variance) || N(m + error, other))` in nats, `[B]`.

    (variance / other - 1 - log(variance / other) + error^2 / other) / 2, summed over coordinates (or modes).

    Args:
        sde: the process whose modes the variances belong to.
        t: the time of the variances, a scalar or `[B]`.
        error: difference of the means, `[B, ...]`.
        variance: shaped like `t`, or `t.shape + mode shape`.
        other: likewise, or shaped like `error`.
    """
    error = error if jnp.ndim(variance) == jnp.ndim(t) else sde.basis.to_modes(error)
    variance, other = (
        value if value.shape == error.shape else per_batch(value, t, error.ndim) for value in (variance, other)
    )
    # a mode that stands still is the same under both
    still = (variance == 0.0) & (other == 0.0)
    variance, other = (jnp.where(still, 1.0, value) for value in (variance, other))
    ratio = variance / other
    values = 0.5 * (ratio - 1.0 - jnp.log(ratio) + error**2 / other)
    return jnp.sum(values.reshape(error.shape[0], -1), axis=1)


def prior_term(sde: LinearSDE, x0: Array, t: Time, variance: Array) -> Array:
    """Return `KL(q(x_t | x_0) || N(0, variance))` in nats, `[B]`."""
    own = sde.variance(jnp.asarray(t))
    other = jnp.broadcast_to(variance, own.shape)
    return gaussian_kl(sde, t, sde.scale(sde.alpha(t), t, x0), own, other)


def decoder_log_prob(
    chain: ReverseChain,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    x: Array,
    t: Time,
    variance_range: Array,
    *,
    levels: int | None,
    centered: bool,
    endpoints: bool,
    cdf: str,
) -> Array:
    """Return `log p(x_0 | x_t = x)` in nats, `[B]`.

    The mean is the predicted data, clipped as the chain asks. `variance_range [2]` is what a head of a
    step's variance (`LearnedRange`, `AroundForward`) is handed; every other chain takes the first.
    """
    each = jnp.broadcast_to(jnp.asarray(t, jnp.result_type(float)), x.shape[:1])
    value = score(x, each)
    mean = tweedie(sde, x, t, value)
    mean = mean if chain.clip is None else jnp.clip(mean, *chain.clip)
    variance = variance_range[0]
    head = chain.bound_head
    if head is not None and head.of_step:
        own = head(x, each, -sde.scale(sde.sigma(t), t, value))
        variance = head.step_variance(variance_range[0], variance_range[1], own)
    if levels is not None and sde.by_modes:
        raise ValueError(
            f"the probability of gray levels under the noise of {type(sde).__name__}, which differs between the modes "
            "of an image, has no closed form; take levels=None, the density, or log_prob for bits of dequantized images"
        )
    if levels is None:
        logp = gaussian_log_prob(sde.own_modes(x0), sde.own_modes(mean), variance)
    else:
        logp = level_log_prob(x0, mean, variance, levels, centered=centered, endpoints=endpoints, cdf=cdf)
    return jnp.sum(logp.reshape(x0.shape[0], -1), axis=1)


def decoder_variances(sde: LinearSDE, t: float, chain: ReverseChain) -> np.ndarray:
    """Return the variance of the decoder at time `t`, and the largest of a learned one, `[2]`.

    What the noise of the last time hides of the data has the variance `sigma_t^2`, less where the data are narrower.
    Published chains take the posterior variance between their first two levels instead (improved DDPM, arXiv
    2102.09672): about half of it, since their second level adds as much noise as the first has, which costs at most
    0.22 bits per dimension. Where it adds less, as between the close levels of SMLD, that posterior says how close the
    levels are and nothing about the data: it is then left to learned heads.
    """
    largest = evaluate(type(sde).variance, sde, t)
    if not (isinstance(sde, Chain) and sde.levels > 1 and round(t * sde.levels) == 1):
        return np.stack([largest, largest])
    step, head = evaluate(transition, sde, t, 2.0 * t), chain.bound_head
    learned = head is not None and head.of_step
    published = bool(np.all(step.forward >= largest))
    return np.stack([step.posterior if learned or published else largest, largest])


def _proposal(proposal: Array | np.ndarray | None, terms: int | None, count: int) -> np.ndarray:
    if terms is None:
        if proposal is not None:
            raise ValueError("proposal is for a subset of the terms; give terms=..., how many to draw")
        return np.full(count, 1.0 / count)
    if terms < 1:
        raise ValueError(f"terms must be at least 1, got {terms}")
    values = np.full(count, 1.0 / count) if proposal is None else np.asarray(proposal, np.float64)
    if values.shape != (count,) or not np.all(values > 0.0) or not math.isclose(values.sum(), 1.0, rel_tol=1e-4):
        raise ValueError(f"proposal must be {count} positive probabilities that sum to 1, got shape {values.shape}")
    return values
