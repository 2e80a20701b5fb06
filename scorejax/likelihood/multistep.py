"""The likelihood on a uniform grid of log-SNR: every node's score and product serve the path and the trace."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.likelihood import grid
from scorejax.likelihood.control import GaussianFit
from scorejax.likelihood.probing import prober
from scorejax.numerics import doors
from scorejax.scores.jacobian import score_and_products
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import SDE, check_kind
from scorejax.sdes.linear import LinearSDE


class Grid(NamedTuple):
    """What a solve on a grid is: its nodes, the order of its rules, and how the trace is estimated."""

    nodes: int
    order: int
    divergence: str
    probes: int
    probing: str
    doubling: bool


class Solved(NamedTuple):
    """Of each example: its density without the prior's change, the latent, and the parts of its error."""

    value: Array
    latent: Array
    stderr: Array
    dof: Array
    solver_error: Array
    prior_error: Array


def check_grid(sde: SDE, found: Grid) -> LinearSDE:
    """Return the process if such a grid has a meaning for it.

    Raises:
        ValueError: for a process without one signal-to-noise ratio, an order that there is not, or too few nodes.
    """
    sde = check_kind(sde, LinearSDE, "method='multistep'")
    if sde.by_modes:
        raise ValueError(
            f"method='multistep' steps along one signal-to-noise ratio, and {type(sde).__name__} has one per mode; "
            "take method='adaptive'"
        )
    if found.order not in grid.ORDERS:
        raise ValueError(f"order is one of {', '.join(map(str, grid.ORDERS))}, got {found.order}")
    least = 4 * found.order + 1 if found.doubling else 2 * found.order + 1
    if found.nodes < least:
        raise ValueError(f"order {found.order} needs at least {least} nodes, got {found.nodes}")
    if found.doubling and found.nodes % 2 == 0:
        raise ValueError(
            f"doubling leaves out every second node of an odd number, got nodes={found.nodes}; take {found.nodes + 1}, "
            "or doubling=False"
        )
    return sde


@partial(jax.jit, static_argnames="found")
def solve_on_grid(
    keys: Array,
    sde: LinearSDE,
    score: Score,
    x: Array,
    prior_logp: Callable[[Array], Array] | None,
    control: GaussianFit | None,
    *,
    found: Grid,
) -> Solved:
    """Solve the flow of `y = x / sqrt(alpha^2 + sigma^2)` in `l = log alpha^2 / sigma^2`.

        dy / dl = v = (sigma~^2 / 2) (y + s~),  log p~(y_0) = log p~(y_T) + int_{l_0}^{l_T} tr(dv / dy) dl

    with `c^2 = alpha^2 + sigma^2`, `sigma~ = sigma / c` and `s~ = c s(c y, t)`. In these coordinates all processes
    with one ratio coincide.
    """
    probe = prober(keys, x, found.divergence, found.probes, found.probing, found.nodes)
    dimension = math.prod(x.shape[1:])
    value, latent, terms = _pass(sde, score, x, prior_logp, control, probe, found, 1)
    error = jnp.full_like(value, jnp.nan)
    if found.doubling:
        coarse, _, _ = _pass(sde, score, x, prior_logp, control, probe, found, 2)
        error = jnp.abs(value - coarse)
    prior_error = jnp.full_like(value, jnp.nan)
    if control is not None and control.dimension() == dimension and sde.prior_is_noise and prior_logp is None:
        end = jnp.asarray(sde.t_max)
        prior_error = jnp.broadcast_to(control.prior_mismatch(sde.alpha(end), sde.variance(end)), value.shape)
    stderr, dof = _spread(terms, found)
    return Solved(value, latent, stderr, dof, error, prior_error)


def _pass(
    sde: LinearSDE,
    score: Score,
    x: Array,
    prior_logp: Callable[[Array], Array] | None,
    control: GaussianFit | None,
    probe: Callable[[Array], Array],
    found: Grid,
    stride: int,
) -> tuple[Array, Array, Array]:
    """Return the values, the latents, and each node's part `[n, B, k]` of the integral of the trace."""
    nodes, dimension = (found.nodes - 1) // stride + 1, math.prod(x.shape[1:])
    derivatives = score_and_products(score)
    first, last = jnp.asarray(sde.t_min, x.dtype), jnp.asarray(sde.t_max, x.dtype)
    ends = sde.log_snr(first), sde.log_snr(last)
    spacing = (ends[1] - ends[0]) / (nodes - 1)
    inner = sde.inverse_log_snr(ends[0] + spacing * jnp.arange(1, nodes - 1, dtype=x.dtype))
    times = jnp.concatenate([first[None], inner, last[None]])
    weights = spacing * jnp.asarray(grid.quadrature(nodes, found.order), x.dtype)
    table = spacing * jnp.asarray(grid.steps(nodes, found.order), x.dtype)

    def size(t: Array) -> Array:
        return jnp.sqrt(sde.alpha(t) ** 2 + sde.variance(t))

    def node(state: tuple[Array, Array], at: tuple[Array, Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        y, slopes = state
        t, step, weight, number = at
        c, alpha, variance = size(t), sde.alpha(t), sde.variance(t)
        vectors, half = probe(number), 0.5 * variance / c**2
        found_score, products = derivatives(c * y, jnp.broadcast_to(t, y.shape[:1]), vectors)
        slopes = jnp.concatenate([(half * (y + c * found_score))[None], slopes[:-1]])
        traces = jnp.sum((vectors * products).reshape(*vectors.shape[:2], -1), axis=2)
        if found.divergence == "exact":
            traces = jnp.sum(traces, axis=1, keepdims=True)
        elif control is not None:
            traces = traces - control.quadratic(alpha, variance, vectors) + control.trace(alpha, variance)
        y = y + jnp.tensordot(step, slopes, axes=1)
        return (y, slopes), weight * half * (dimension + c**2 * traces)

    start = (x / size(first), jnp.zeros((found.order, *x.shape), x.dtype))
    numbers = stride * np.arange(nodes, dtype=np.int32)
    (y, _), terms = jax.lax.scan(node, start, (times, table, weights, jnp.asarray(numbers)))
    latent = sde.settled(size(last) * y)
    prior = sde.prior_logp(latent) if prior_logp is None else doors.per_row(latent, prior_logp(latent), "prior_logp")
    scale = dimension * (jnp.log(size(last)) - jnp.log(size(first)))
    return prior + scale + jnp.sum(jnp.mean(terms, axis=2), axis=0), latent, terms


def _spread(terms: Array, found: Grid) -> tuple[Array, Array]:
    """Return the standard error of the mean over probes, and its degrees of freedom, both `[B]`.

    Fresh probes of different nodes are independent, so the variances of the nodes add up, and so does what is known
    about each of them (Satterthwaite). Others are independent only as whole sequences.
    """
    count = terms.shape[2]
    one = jnp.zeros_like(terms[0, :, 0])
    if found.divergence == "exact":
        return one, one + jnp.inf
    if count == 1:
        return one + jnp.nan, one
    if found.probing != "fresh":
        return jnp.std(jnp.sum(terms, axis=0), axis=1, ddof=1) / count**0.5, one + (count - 1)
    variances = jnp.var(terms, axis=2, ddof=1)  # [n, B]
    total, squares = jnp.sum(variances, axis=0), jnp.sum(variances**2, axis=0)
    # of a normal law E s^4 = sigma^4 (k + 1) / (k - 1), so that s^4 / (k + 1) is unbiased for sigma^4 / (k - 1)
    dof = jnp.where(squares > 0, (count + 1) * total**2 / jnp.where(squares > 0, squares, 1.0), jnp.inf)
    return jnp.sqrt(total / count), jnp.maximum(dof, count - 1)
