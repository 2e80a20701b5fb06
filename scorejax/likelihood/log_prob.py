"""Exact log-likelihood: `log p(x) = log p_T(x_T) + int div(drift) dt` along the probability-flow ODE."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.likelihood.divergence import check_divergence, probe_vectors
from scorejax.likelihood.prior import named_prior
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.adjoints import check_adjoint, hint_at_adjoint
from scorejax.numerics.trees import as_pytree
from scorejax.samplers.ode import solve
from scorejax.scores.jacobian import score_and_products, value_and_products
from scorejax.scores.predictions import Score, probability_flow
from scorejax.scores.self_conditioning import of_point_and_time
from scorejax.sdes.corruption import SDE, check_kind, check_moves, per_batch
from scorejax.sdes.linear import LinearSDE


class LogProb(NamedTuple):
    """What `log_prob` returns, one entry per example.

    Attributes:
        value: log density in nats, `[B]`; NaN where `ok` is false.
        latent: the end of the ODE at `sde.t_max`, shaped like `x`.
        nfe: evaluations of (score, its Jacobian-vector products) the solver made for each example, `[B]`.
        ok: whether the solver arrived with a finite value, `[B]`.
        stderr: standard error of `value` from the trace estimate, `[B]`: zero for the exact divergence, NaN for
            one probe, which cannot show its own error.
    """

    value: Array
    latent: Array
    nfe: Array
    ok: Array
    stderr: Array


def log_prob(
    key: Array,
    sde: SDE,
    score: Score,
    x: Array,
    *,
    divergence: str = "rademacher",
    probes: int = 1,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    prior: str = "marginal",
    prior_logp: Callable[[Array], Array] | None = None,
    max_steps: int = 4096,
    adjoint: str = "recompute",
) -> LogProb:
    """Return the log density of data under the model's probability-flow ODE (Score-SDE, section 4.3).

        log p(x) = log p_T(x_T) + int div( f x - g^2 score / 2 ) dt,   x_T the end of the flow from x

    The drift of a Gaussian process has an exact divergence; only the trace of the score's Jacobian is estimated, by
    `probes` Hutchinson vectors fixed along the solve, or summed exactly. Of any other drift they are used on the whole
    flow. Each example is solved with its own step sizes, so its value does not depend on its batch-mates. `x` is
    placed at `sde.t_min`: the value is `log p_{t_min}(x)`.

    The law at `sde.t_max` is by default the end of the forward process, `N(0, sigma^2)` with its `sigma` there. The
    code of Score-SDE takes `N(0, 1)` for VP and sub-VP, here `prior="standard"`. The two are some 1e-4 bits per
    dimension apart: `(log sigma^2 + z^2 (1 / sigma^2 - 1)) / (2 log 2)` for a latent `z`.

    The gradient by `x`, the score's parameters and the numbers of the process is that of the value computed, with the
    solver's step sizes taken as given; it costs the memory of `2 sqrt(max_steps)` batches, and nothing if it is not
    asked for.

    Args:
        key: one key, or one per example `[B]`, for the probes.
        sde: the forward process.
        score: `score(x, t)`.
        x: data in model units, `[B, ...]`, floating numbers.
        divergence: `exact` (D Jacobian-vector products), `rademacher` or `gaussian` probes (Hutchinson;
            `hutchinson` is another word for `rademacher`).
        probes: number of probes; the standard error needs at least two.
        rtol: relative tolerance; float32 resolves about 1e-6.
        atol: absolute tolerance.
        prior: the law at `sde.t_max`: `marginal`, or `standard` for N(0, 1).
        prior_logp: the log density `[B]` of any other law there, in place of `prior`.
        max_steps: most solver steps.
        adjoint: how it is differentiated: `recompute` for `jax.grad`; `forward` for `jax.jvp` and `jax.jacfwd`.

    Raises:
        ValueError: on an unknown name, fewer than one probe, data that are not finite floating numbers, or a score of
            another shape, or a process that does not move.
    """
    check_moves(check_kind(sde, SDE, "log_prob"), "log_prob")
    x = doors.points(x)
    divergence = check_divergence(divergence, probes)
    vectors = probe_vectors(keys_lib.per_example(key, x.shape[0]), x, divergence, probes)
    law = named_prior(sde, prior) if prior_logp is None else as_pytree(prior_logp)
    with hint_at_adjoint():
        return _solve(
            sde, of_point_and_time(score, "log_prob"), x, vectors, rtol, atol, law,
            exact=divergence == "exact", max_steps=max_steps, adjoint=check_adjoint(adjoint),
        )  # fmt: skip


@partial(jax.jit, static_argnames=("exact", "max_steps", "adjoint"))
def _solve(
    sde: SDE,
    score: Score,
    x: Array,
    vectors: Array,
    rtol: Array,
    atol: Array,
    prior_logp: Callable[[Array], Array] | None,
    *,
    exact: bool,
    max_steps: int,
    adjoint: str,
) -> LogProb:
    derivatives = score_and_products(score)

    def field(t: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        if isinstance(sde, LinearSDE):
            return _flow_and_divergence(sde, derivatives, state[0], t, vectors, exact)
        return _any_flow_and_divergence(sde, score, state[0], t, vectors, exact)

    state = (x, jnp.zeros((x.shape[0], 1 if exact else vectors.shape[1]), x.dtype))
    (latent, change), nfe = solve(field, state, sde.t_min, sde.t_max, rtol, atol, max_steps, adjoint=adjoint)
    # The solver saw the change per dimension, see `_flow_and_divergence`.
    change = change * math.prod(x.shape[1:])
    latent = sde.settled(latent)
    prior = sde.prior_logp(latent) if prior_logp is None else doors.per_row(latent, prior_logp(latent), "prior_logp")
    value = prior + jnp.mean(change, axis=1)
    ok = jnp.isfinite(value) & jnp.all(jnp.isfinite(latent.reshape(x.shape[0], -1)), axis=1)
    stderr = jnp.zeros_like(value) if exact else jnp.std(change, axis=1, ddof=1) / change.shape[1] ** 0.5
    # NaN, not the last value before the solver gave up, so that no mean takes it for a density.
    return LogProb(jnp.where(ok, value, jnp.nan), latent, nfe, ok, stderr)


def _flow_and_divergence(
    sde: LinearSDE, derivatives: Callable[..., tuple[Array, Array]], x: Array, t: Array, vectors: Array, exact: bool
) -> tuple[Array, Array]:
    """Return the probability-flow drift at `x [B, ...]`, and its divergence per dimension, one estimate per probe.

    Next to the data the points hardly move while the density changes by nats in every dimension, so the solver has to
    watch both; per dimension they are of one size.
    """
    rate, half_g2 = sde.drift_rate(t), 0.5 * sde.diffusion_squared(t)
    score, products = derivatives(x, t, vectors)

    def trace(vector: Array, product: Array) -> Array:
        return jnp.sum((vector * sde.scale(half_g2, t, product)).reshape(x.shape[0], -1), axis=1)

    traces = jax.vmap(trace, in_axes=1, out_axes=1)(vectors, products)
    linear = jnp.broadcast_to(per_batch(rate, t, x.ndim), x.shape).reshape(x.shape[0], -1).sum(axis=1, keepdims=True)
    drift = sde.drift(x, t) - sde.scale(half_g2, t, score)
    return drift, (linear - (jnp.sum(traces, axis=1, keepdims=True) if exact else traces)) / math.prod(x.shape[1:])


def _any_flow_and_divergence(
    sde: SDE, score: Score, x: Array, t: Array, vectors: Array, exact: bool
) -> tuple[Array, Array]:
    """Return the same for a drift of any form, whose divergence is that of the whole flow."""
    drift, products = value_and_products(lambda y: probability_flow(sde, score)(y, t), x, vectors)
    traces = jnp.sum((vectors * products).reshape(*vectors.shape[:2], -1), axis=2)
    return drift, (jnp.sum(traces, axis=1, keepdims=True) if exact else traces) / math.prod(x.shape[1:])
