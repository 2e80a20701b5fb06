"""From log densities of dequantized data to bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.likelihood.bound import Bound, likelihood_bound
from scorejax.likelihood.gray_levels import bin_width as width_of
from scorejax.likelihood.gray_levels import check_examples, dequantize_uniform, from_unit
from scorejax.likelihood.log_prob import LogProb, log_prob
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import SDE
from scorejax.sdes.linear import LinearSDE

Dequantizer = Callable[[Array, Array], tuple[Array, Array]]
"""`(keys [B], levels [B, ...]) -> (u [B, ...], log q(u | levels) [B])`: noise in (0, 1) within each level, and the
log density in nats that it was drawn with."""

Tree = TypeVar("Tree")  # a tree of arrays


class Bits(NamedTuple):
    """What `dequantized_bits` returns, one entry per example.

    Attributes:
        value: bits per dimension, the mean over passes, `[B]`; NaN where `ok` is false.
        nfe: evaluations of (score, its Jacobian-vector products), summed over passes, `[B]`.
        ok: whether every solve arrived, `[B]`.
        stderr: standard error of `value` over the passes, `[B]`; NaN for a single one.
    """

    value: Array
    nfe: Array
    ok: Array
    stderr: Array


class BoundBits(NamedTuple):
    """What `bound_bits` returns, one entry per example.

    Attributes:
        value: upper bound of the bits per dimension, the mean over passes, `[B]`.
        stderr: standard error of its estimate from the drawn times and noise, `[B]`; NaN for a single chunk.
    """

    value: Array
    stderr: Array


def bits_per_dim(log_prob: Array, dims: int, bin_width: float) -> Array:
    """Return `-(log_prob + D log(bin_width)) / (D log 2)`, shaped like `log_prob`.

    The density of uniformly dequantized data bounds the probability of its bin (Theis et al., arXiv 1511.01844);
    `bin_width` is the width of one gray level in model units: 2 / 256 for 8-bit images in [-1, 1], 1 / 256 in [0, 1].

    Args:
        log_prob: log densities in nats, in model units.
        dims: `D`, the number of values of an example.
        bin_width: the width of one level in model units; 1 gives the differential entropy rate in bits.

    Raises:
        ValueError: unless `dims >= 1` and `bin_width > 0`.
    """
    if dims < 1 or not bin_width > 0:
        raise ValueError(f"bits_per_dim needs dims >= 1 and bin_width > 0, got dims={dims}, bin_width={bin_width}")
    return -(log_prob / dims + math.log(bin_width)) / math.log(2.0)


def dequantized_bits(
    key: Array,
    sde: SDE,
    score: Score,
    examples: Array,
    levels: int,
    *,
    dequantizer: Dequantizer | None = None,
    centered: bool = True,
    passes: int = 1,
    **solver,
) -> Bits:
    """Return the bits per dimension of gray-level examples, averaged over `passes` dequantizations.

        -log2 P(k) <= -E_q[ log2 p(k + u) - log2 q(u | k) ],   per dimension, u ~ q

    with `q` uniform (Theis et al., arXiv 1511.01844) or learned (variational dequantization, Ho et al.,
    arXiv 1902.00275): the better `q` follows the model's density within a level, the closer the bound.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`, in model units.
        examples: integer levels `[B, ...]`.
        levels: how many levels there are.
        dequantizer: draws the noise within the levels; uniform if not given.
        centered: model space is [-1, 1) instead of [0, 1).
        passes: dequantizations (and probes) to average over; lowers the noise of the estimate, not its bound.
        **solver: `divergence`, `probes`, `rtol`, `atol`, `prior`, `prior_logp`, `max_steps`, `adjoint` of `log_prob`;
            published numbers of VP and sub-VP take `prior="standard"`.

    Raises:
        ValueError: if `passes < 1`, or on arguments `log_prob` refuses.
    """

    def cost(keys: Array, x: Array) -> LogProb:
        return log_prob(keys, sde, score, x, **solver)

    results, log_q, to_bits = _passes(key, examples, levels, dequantizer, centered, passes, cost)
    values = to_bits(results.value - log_q)
    stderr = jnp.std(values, axis=0, ddof=1) / passes**0.5
    value = to_bits(jnp.mean(results.value - log_q, 0))
    return Bits(value, jnp.sum(results.nfe, 0), jnp.all(results.ok, 0), stderr)


def density_bits(
    key: Array,
    density: Callable[[Array, Array], Array],
    examples: Array,
    gray_levels: int,
    *,
    dequantizer: Dequantizer | None = None,
    centered: bool = True,
    passes: int = 1,
) -> Array:
    """Return the bits per dimension `[B]` of gray-level examples under any density, as `dequantized_bits` does.

    Args:
        key: one key, or one per example `[B]`.
        density: `(keys [B], x [B, ...]) -> nats [B]`, the log density of model space.
        examples: integer levels `[B, ...]`.
        gray_levels: how many levels there are.
        dequantizer: draws the noise within the levels; uniform if not given.
        centered: model space is [-1, 1) instead of [0, 1).
        passes: dequantizations to average over.

    Raises:
        ValueError: if `passes < 1`, the examples are not such levels, or the density is not one number per example.
    """

    def cost(keys: Array, x: Array) -> Array:
        return doors.per_row(x, density(keys, x), "a density")

    results, log_q, to_bits = _passes(key, examples, gray_levels, dequantizer, centered, passes, cost)
    return to_bits(jnp.mean(results - log_q, 0))


def bound_bits(
    key: Array,
    sde: LinearSDE,
    score: Score,
    examples: Array,
    levels: int,
    *,
    dequantizer: Dequantizer | None = None,
    centered: bool = True,
    passes: int = 1,
    **bound,
) -> BoundBits:
    """Return an upper bound of the bits per dimension of gray-level examples: `likelihood_bound`, dequantized.

    Differentiable in the parameters of the dequantizer, whose training objective it is.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`, in model units.
        examples: integer levels `[B, ...]`.
        levels: how many levels there are.
        dequantizer: draws the noise within the levels; uniform if not given.
        centered: model space is [-1, 1) instead of [0, 1).
        passes: dequantizations to average over.
        **bound: `form`, `times`, `samples`, `chunk`, `divergence`, `probes`, `offset`, `prior`, `prior_logp` of
            `likelihood_bound`.

    Raises:
        ValueError: if `passes < 1`, or on arguments `likelihood_bound` refuses.
    """

    def cost(keys: Array, x: Array) -> Bound:
        return likelihood_bound(keys, sde, score, x, **bound)

    results, log_q, to_bits = _passes(key, examples, levels, dequantizer, centered, passes, cost)
    nats = math.log(2.0) * math.prod(examples.shape[1:])
    stderr = jnp.sqrt(jnp.sum(results.stderr**2, 0)) / passes / nats
    return BoundBits(to_bits(-jnp.mean(results.value + log_q, 0)), stderr)


def _passes(
    key: Array,
    examples: Array,
    levels: int,
    dequantizer: Dequantizer | None,
    centered: bool,
    passes: int,
    cost: Callable[[Array, Array], Tree],
) -> tuple[Tree, Array, Callable[[Array], Array]]:
    """Return the costs of dequantized examples, stacked `[passes, B]`, the densities of their noise, and the units."""
    if passes < 1:
        raise ValueError(f"bits of dequantized data need at least one pass, got {passes}")
    examples = check_examples(examples, levels)
    keys = keys_lib.per_example(key, examples.shape[0])
    results, log_q = [], []
    for i in range(passes):
        noise_keys = keys_lib.fold_in(keys, 2 * i)
        if dequantizer is None:
            unit, density = dequantize_uniform(noise_keys, examples, levels), jnp.zeros(examples.shape[0])
        else:
            u, density = dequantizer(noise_keys, examples)
            u = doors.field(jnp.zeros(examples.shape), u, "a dequantizer")
            density = doors.per_row(examples, density, "a dequantizer's density")
            unit = (examples.astype(jnp.float32) + u) / levels
        results.append(cost(keys_lib.fold_in(keys, 2 * i + 1), from_unit(unit, centered=centered)))
        log_q.append(density)
    to_bits = partial(bits_per_dim, dims=math.prod(examples.shape[1:]), bin_width=width_of(levels, centered=centered))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results), jnp.stack(log_q), to_bits
