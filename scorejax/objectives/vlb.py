"""Training by the variational bound: `L_vlb` and `L_hybrid` (improved DDPM, arXiv 2102.09672)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from scorejax.likelihood.decoder import data_points
from scorejax.likelihood.elbo import decoder_log_prob, decoder_variances, kl_term
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import NonNegative
from scorejax.numerics.trees import register_dataclass, static
from scorejax.reverse import ReverseChain
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE

TERM, NOISE = range(2)  # streams of an example's key


def vlb(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    *,
    chain: ReverseChain,
    levels: int | None = None,
    centered: bool = True,
    endpoints: bool = False,
    terms: Array | None = None,
    proposal: Array | None = None,
) -> Array:
    """Return one term of the variational bound of each example, weighted to be unbiased, in bits/dim, `[B]`.

        loss_b = L_i / p_i,   i drawn from p,   sum of all L_i = the bound without its prior term

    One network evaluation per example.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`, the model's.
        x0: data `[B, ...]`: integer levels, or points of model space (moved to their levels if there are any).
        chain: from `scorejax.reverse.chain`, usually of all levels; a `LearnedRange` head is trained here.
        levels: number of gray levels; None for continuous data.
        centered: model space is [-1, 1) instead of [0, 1).
        endpoints: level `k` lies at `k / (levels - 1)`, as in the published code.
        terms: which term `[B]`, drawn outside by `draw_terms` with the same proposal; drawn here if not given. Terms
            are counted from the prior down; the last is the decoder.
        proposal: probabilities `[K]` of the terms; uniform if not given. `LossHistory` learns good ones.
    """
    points, step = _draw(key, sde, x0, chain, levels, centered, endpoints, terms, proposal)
    value = doors.field(step.x, score(step.x, step.t))
    return _weighted_term(sde, value, points, chain, step, levels, centered, endpoints, proposal)


def hybrid(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    *,
    chain: ReverseChain,
    lambda_vlb: NonNegative = 0.001,
    levels: int | None = None,
    centered: bool = True,
    endpoints: bool = False,
    terms: Array | None = None,
) -> Array:
    """Return `L_hybrid = L_simple + lambda_vlb L_vlb` of each example, `[B]`.

    The score learns from `L_simple` alone (the mean squared error of the noise); the bound trains the variance head
    of the chain.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`, the model's.
        x0: data, as in `vlb`.
        chain: as in `vlb`, with a `LearnedRange` head.
        lambda_vlb: weight of the bound, which is in bits/dim and summed over all steps, not averaged.
        levels: as in `vlb`.
        centered: as in `vlb`.
        endpoints: as in `vlb`.
        terms: as in `vlb`, drawn uniformly.

    Raises:
        ValueError: if the chain has no head to train.
    """
    check_kind(sde, LinearSDE, "the bound of a reverse chain")
    if chain.variance_head is None:
        raise ValueError(
            "hybrid trains a variance head, this chain has none; use chain(..., variance=LearnedRange(head))"
        )
    points, step = _draw(key, sde, x0, chain, levels, centered, endpoints, terms, None)
    value = doors.field(step.x, score(step.x, step.t))
    error = sde.scale(sde.sigma(step.t), step.t, value) + step.noise
    simple = jnp.mean(error.reshape(error.shape[0], -1) ** 2, axis=1)
    # the mean is left to the simple loss, and the bound trains the variance alone (improved DDPM, section 3.1)
    bound = _weighted_term(sde, lax.stop_gradient(value), points, chain, step, levels, centered, endpoints, None)
    return simple + lambda_vlb * bound


def draw_terms(key: Array, n: int, proposal: Array) -> Array:
    """Draw `n` terms `[n]` from probabilities `[K]`; `key` is one key, or one per example."""
    keys = keys_lib.per_example(key, n)
    return jax.vmap(lambda k: jax.random.choice(k, proposal.shape[0], p=proposal))(keys)


@register_dataclass
@dataclass(frozen=True)
class LossHistory:
    """The last losses of every term, and the proposal they suggest: `p_i ~ sqrt(mean L_i^2)`.

    With these the variance of `L_i / p_i` is least (improved DDPM, section 3.3). Until every term has a full row, the
    proposal is uniform; a share of it always is.

    Attributes:
        losses: `[K, history]`, unweighted, newest last.
        counts: how many each term has had, `[K]`.
        uniform_share: weight of the uniform proposal in the mixture.
    """

    losses: Array
    counts: Array
    uniform_share: float = static(default=0.001)

    @staticmethod
    def empty(k: int, history: int = 10) -> LossHistory:
        """Return the history of `k` terms before the first loss; ten of each are published."""
        return LossHistory(jnp.zeros((k, history)), jnp.zeros(k, jnp.int32))

    def update(self, terms: Array, losses: Array) -> LossHistory:
        """Return the history after the unweighted `losses [B]` of `terms [B]`."""

        def one(carry: tuple[Array, Array], item: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
            rows, counts = carry
            i, loss = item
            return (rows.at[i].set(jnp.roll(rows[i], -1).at[-1].set(loss)), counts.at[i].add(1)), None

        rows, counts = lax.scan(one, (self.losses, self.counts), (terms, losses))[0]
        return LossHistory(rows, counts, self.uniform_share)

    def proposal(self) -> Array:
        """Return probabilities `[K]`."""
        k, history = self.losses.shape
        size = jnp.sqrt(jnp.mean(self.losses**2, axis=1))
        learned = size / jnp.maximum(jnp.sum(size), jnp.finfo(size.dtype).tiny)
        mixed = (1.0 - self.uniform_share) * learned + self.uniform_share / k
        return jnp.where(jnp.all(self.counts >= history), mixed, 1.0 / k)


@dataclass(frozen=True)
class _Drawn:
    """Where each example is looked at: the term, its time, noise and point."""

    term: Array
    t: Array
    noise: Array
    x: Array


def _draw(
    key: Array,
    sde: LinearSDE,
    x0: Array,
    chain: ReverseChain,
    levels: int | None,
    centered: bool,
    endpoints: bool,
    terms: Array | None,
    proposal: Array | None,
) -> tuple[Array, _Drawn]:
    check_kind(sde, LinearSDE, "the bound of a reverse chain")
    points = data_points(x0, levels, centered=centered, endpoints=endpoints)
    keys = keys_lib.per_example(key, points.shape[0])
    times = jnp.asarray(chain.times, points.dtype)
    if terms is not None and (np.shape(terms) != points.shape[:1] or not jnp.issubdtype(terms.dtype, jnp.integer)):
        raise ValueError(
            f"terms must be one integer per example, shape {points.shape[:1]}, got {terms.dtype} of {np.shape(terms)}"
        )
    if terms is None:
        even = jnp.full(times.shape, 1.0 / times.shape[0])
        terms = draw_terms(keys_lib.fold_in(keys, TERM), points.shape[0], even if proposal is None else proposal)
    noise = keys_lib.normal(keys_lib.fold_in(keys, NOISE), points.shape, points.dtype)
    t = times[terms]
    return points, _Drawn(terms, t, noise, sde.perturb(points, t, noise))


@dataclass(frozen=True)
class _Known:
    """A function of `(x, t)` whose value at the only points in question is known."""

    value: Array

    def __call__(self, x: Array, t: Array) -> Array:
        return self.value


def _weighted_term(
    sde: LinearSDE,
    value: Array,
    points: Array,
    chain: ReverseChain,
    drawn: _Drawn,
    levels: int | None,
    centered: bool,
    endpoints: bool,
    proposal: Array | None,
) -> Array:
    """Return `L_i / p_i` in bits/dim from the score's value at the points drawn."""
    count = np.shape(chain.steps.t)[0] + 1
    known = _Known(value)
    head = chain.bound_head
    if head is not None:  # KL and decoder ask for its output: run it, and differentiate it, once
        output = _Known(doors.field(drawn.x, head.network(drawn.x, drawn.t), "a variance head"))
        chain = replace(chain, variance_head=replace(head, network=output))
    kl = kl_term(chain, chain.step(jnp.minimum(drawn.term, count - 2)), sde, known, points, drawn.x)
    variances = jnp.asarray(decoder_variances(sde, float(chain.steps.s[-1]), chain))
    logp = decoder_log_prob(
        chain, sde, known, points, drawn.x, drawn.t, variances,
        levels=levels, centered=centered, endpoints=endpoints, cdf="exact",
    )  # fmt: skip
    # both are computed for every example, from one evaluation: a batch has terms of either kind
    nats = jnp.where(drawn.term == count - 1, -logp, kl)
    weight = count if proposal is None else 1.0 / proposal[drawn.term]
    return nats * weight / (math.prod(points.shape[1:]) * math.log(2.0))
