"""From log densities of dequantized data to bits per dimension."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from scorejax import keys as keys_lib
from scorejax.likelihood.log_prob import log_prob
from scorejax.score import Score
from scorejax.sdes.linear import LinearSDE

_SUBLEVELS = 2**15  # (2 j + 1) / 2^16 beside an 8-bit level fills the 24 bits of a float32 exactly


class Bits(NamedTuple):
    """What `dequantized_bits` returns, one entry per example.

    Attributes:
        value: bits per dimension, the mean over passes, `[B]`; NaN where `ok` is false.
        nfe: evaluations of (score, its Jacobian-vector products), summed over passes, `[B]`.
        ok: whether every solve arrived, `[B]`.
    """

    value: Array
    nfe: Array
    ok: Array


def bits_per_dim(log_prob: Array, dims: int, bin_width: float) -> Array:
    """Return `-(log_prob + D log(bin_width)) / (D log 2)`, shaped like `log_prob`.

    The density of uniformly dequantized data bounds the probability of its bin (Theis et al., arXiv 1511.01844);
    `bin_width` is the width of one grey level in model units: 2 / 256 for 8-bit images in [-1, 1], 1 / 256 in [0, 1].

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


def check_levels(levels: int) -> None:
    """Refuse numbers of grey levels that 8-bit images cannot have.

    Raises:
        ValueError: unless `2 <= levels <= 256`.
    """
    if not 2 <= levels <= 256:
        raise ValueError(f"levels = {levels}; 8-bit images have 2 to 256 levels")


def dequantize_uniform(key: Array, examples: Array, levels: int) -> Array:
    """Return `(k + u) / levels` in (0, 1), `u` uniform on (0, 1), for integer levels `k [B, ...]`, in float32.

    `u` takes the 2^15 values `(j + 1/2) / 2^15`, so that every sum `k + u` with `k < 256` is exact and no draw is
    rounded into the next level.

    Args:
        key: one key, or one per example `[B]`; an example's noise never depends on its batch-mates.
        examples: integers `0 .. levels - 1`.
        levels: how many levels there are, 2 to 256.

    Raises:
        ValueError: unless `2 <= levels <= 256`.
    """
    check_levels(levels)
    keys = keys_lib.per_example(key, examples.shape[0])
    bits = jax.vmap(lambda k: jax.random.bits(k, examples.shape[1:], jnp.uint16))(keys)
    u = ((bits >> 1).astype(jnp.float32) + 0.5) / _SUBLEVELS
    return (examples.astype(jnp.float32) + u) / levels


def dequantized_bits(
    key: Array,
    sde: LinearSDE,
    score: Score,
    examples: Array,
    levels: int,
    *,
    centered: bool = True,
    passes: int = 1,
    **solver,
) -> Bits:
    """Return the bits per dimension of grey-level examples, averaged over `passes` dequantizations.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`, in model units.
        examples: integer levels `[B, ...]`.
        levels: how many levels there are.
        centered: model space is [-1, 1) instead of [0, 1).
        passes: dequantizations (and probes) to average over; lowers the noise of the estimate, not its bound.
        **solver: `divergence`, `probes`, `rtol`, `atol`, `prior_logp`, `max_steps` of `log_prob`.

    Raises:
        ValueError: if `passes < 1`, or on arguments `log_prob` refuses.
    """
    if passes < 1:
        raise ValueError(f"dequantized_bits needs at least one pass, got {passes}")
    keys = keys_lib.per_example(key, examples.shape[0])
    dims, scale = math.prod(examples.shape[1:]), 2.0 if centered else 1.0
    results = []
    for i in range(passes):
        unit = dequantize_uniform(keys_lib.fold_in(keys, 2 * i), examples, levels)
        x = 2.0 * unit - 1.0 if centered else unit
        results.append(log_prob(keys_lib.fold_in(keys, 2 * i + 1), sde, score, x, **solver))
    value, nfe, ok = (jnp.stack([getattr(r, name) for r in results]) for name in ("value", "nfe", "ok"))
    return Bits(bits_per_dim(jnp.mean(value, 0), dims, scale / levels), jnp.sum(nfe, 0), jnp.all(ok, 0))
