"""Exact log-likelihood: `log p(x) = log p_T(x_T) + int div(drift) dt` along the probability-flow ODE."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import ndtri, stdtrit

from scorejax.likelihood.control import GaussianFit
from scorejax.likelihood.divergence import check_divergence, probe_vectors
from scorejax.likelihood.multistep import Grid, check_grid, solve_on_grid
from scorejax.likelihood.prior import named_prior
from scorejax.likelihood.probing import check_probing
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

METHODS = ("adaptive", "multistep")


class LogProb(NamedTuple):
    """What `log_prob` returns, one entry per example.

    Attributes:
        value: log density in nats, `[B]`; NaN where `ok` is false.
        latent: the end of the ODE at `sde.t_max`, shaped like `x`.
        nfe: evaluations of (score, its Jacobian-vector products) the solver made for each example, `[B]`.
        ok: whether the solver arrived with a finite value, `[B]`.
        stderr: standard error of `value` from the trace estimate, `[B]`: zero for the exact divergence, NaN for
            one probe, which cannot show its own error.
        solver_error: how far `value` moves when every second node is left out, `[B]`, in nats; NaN where it is not
            known: without `doubling`, and by the adaptive solver.
        dof: degrees of freedom of `stderr`, `[B]`; infinite for the exact divergence, zero for one probe.
        prior_error: by how much the law of the latents and the prior differ on average over data with the moments of
            `control` (their Kullback-Leibler divergence), `[B]`, in nats; NaN without `control`.
    """

    value: Array
    latent: Array
    nfe: Array
    ok: Array
    stderr: Array
    solver_error: Array | None = None
    dof: Array | None = None
    prior_error: Array | None = None

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of an interval of the density, each `[B]`, in nats: `value -+ (t stderr + bias)`.

        `t` is Student's for `dof` degrees of freedom, and `bias` the sum of `solver_error` and `prior_error` where they
        are known: what is NaN there counts as zero, so an interval of the adaptive solver is of its probes alone. It
        is an interval of the density of the given score under the process, not of the data's law. It is NaN for one
        probe.

        Args:
            level: how often it is to hold the truth, between 0 and 1.

        Raises:
            ValueError: on another level, or a value that does not say its degrees of freedom.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"the level of an interval lies between 0 and 1, got {level}")
        if self.dof is None:
            raise ValueError(
                "an interval needs the degrees of freedom of the standard error; take what log_prob returns"
            )
        value, stderr = np.asarray(self.value, np.float64), np.asarray(self.stderr, np.float64)
        dof, bias = np.asarray(self.dof, np.float64), np.zeros_like(value)
        for part in (self.solver_error, self.prior_error):
            bias += 0.0 if part is None else np.nan_to_num(np.asarray(part, np.float64), nan=0.0)
        wide = np.where(np.isinf(dof), ndtri(0.5 + level / 2), stdtrit(np.clip(dof, 1.0, 1e9), 0.5 + level / 2))
        half = np.where(stderr == 0.0, 0.0, wide * stderr) + bias
        return value - half, value + half


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
    method: str = "adaptive",
    nodes: int = 65,
    order: int = 4,
    probing: str | None = None,
    control: GaussianFit | None = None,
    doubling: bool = True,
) -> LogProb:
    """Return the log density of data under the model's probability-flow ODE (Score-SDE, section 4.3).

        log p(x) = log p_T(x_T) + int div( f x - g^2 score / 2 ) dt,   x_T the end of the flow from x

    The drift of a Gaussian process has an exact divergence; only the trace of the score's Jacobian is estimated, by
    `probes` Hutchinson vectors fixed along the solve, or summed exactly. Of any other drift they are used on the whole
    flow. Each example is solved with its own step sizes, so its value does not depend on its batch-mates. `x` is
    placed at `sde.t_min`: the value is `log p_{t_min}(x)`.

    `method="multistep"` takes Adams-Bashforth steps on a uniform grid of log-SNR instead, in the coordinates
    `x / sqrt(alpha^2 + sigma^2)` in which all processes coincide. Each node's score and product serve both the path and
    the integral of the trace, and the path does not depend on the probes: each node may take new ones, whose errors
    average out along the path. Evaluations are `nodes`, and half as many again with `doubling`.

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
        method: `adaptive` (error-controlled, the default), or `multistep`, on a grid; `rtol`, `atol`, `max_steps` and
            `adjoint` are of the first, what follows here of the second.
        nodes: of the grid, both ends counted; an odd number with `doubling`.
        order: of the steps and of the integral, 1 to 4.
        probing: which probes the nodes take: `fixed`, the same at each; `fresh`, new ones; `hadamard`, rows of one
            randomized Hadamard matrix. None: `fresh` on a grid, `fixed` for the adaptive solver, which knows no other.
        control: a Gaussian fitted to the data, whose exact trace is a control variate of the estimated one.
        doubling: whether the grid of every second node is solved too, for `solver_error`.

    Raises:
        ValueError: on an unknown name, fewer than one probe, data that are not finite floating numbers, or a score of
            another shape, or a process that does not move; on a grid also for a process with a signal-to-noise ratio of
            its own for each mode, too few nodes, or a control variate of another size.
    """
    check_moves(check_kind(sde, SDE, "log_prob"), "log_prob")
    x = doors.points(x)
    divergence = check_divergence(divergence, probes)
    probing = check_probing(probing, check_method(method, control), divergence)
    keys = keys_lib.per_example(key, x.shape[0])
    law = named_prior(sde, prior) if prior_logp is None else as_pytree(prior_logp)
    if method == "multistep":
        found = Grid(nodes, order, divergence, probes, probing, doubling)
        return _of_grid(sde, of_point_and_time(score, "log_prob"), x, keys, law, control, found)
    vectors = probe_vectors(keys, x, divergence, probes)
    with hint_at_adjoint():
        return _solve(
            sde, of_point_and_time(score, "log_prob"), x, vectors, rtol, atol, law,
            exact=divergence == "exact", max_steps=max_steps, adjoint=check_adjoint(adjoint),
        )  # fmt: skip


def check_method(method: str, control: GaussianFit | None) -> str:
    """Return the name in `METHODS`.

    Raises:
        ValueError: on an unknown one, or a control variate of the adaptive solver.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    if method == "adaptive" and control is not None:
        raise ValueError("control is of a grid; take method='multistep', or leave control out")
    return method


def _of_grid(
    sde: SDE,
    score: Score,
    x: Array,
    keys: Array,
    law: Callable[[Array], Array] | None,
    control: GaussianFit | None,
    found: Grid,
) -> LogProb:
    linear, dimension = check_grid(sde, found), math.prod(x.shape[1:])
    if control is not None and control.dimension() != dimension:
        raise ValueError(
            f"control is fitted to points of {control.dimension()} numbers, and x has {dimension}; fit it to data in "
            "model units, like x"
        )
    solved = solve_on_grid(keys, linear, score, x, law, control, found=found)
    ok = jnp.isfinite(solved.value) & jnp.all(jnp.isfinite(solved.latent.reshape(x.shape[0], -1)), axis=1)
    nfe = found.nodes + ((found.nodes + 1) // 2 if found.doubling else 0)
    return LogProb(
        jnp.where(ok, solved.value, jnp.nan), solved.latent, jnp.full(x.shape[0], nfe), ok,
        solved.stderr, solved.solver_error, solved.dof, solved.prior_error,
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
    dof = jnp.full_like(value, jnp.inf if exact else change.shape[1] - 1)
    unknown = jnp.full_like(value, jnp.nan)
    return LogProb(jnp.where(ok, value, jnp.nan), latent, nfe, ok, stderr, unknown, dof, unknown)


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
