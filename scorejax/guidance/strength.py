"""How strong a guidance is: a number, one for each example, or a schedule in time or log signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.sdes.corruption import SDE, check_kind, per_batch
from scorejax.sdes.linear import LinearSDE

Strength = float | Array | Callable[[Array], Array]
"""A number, one number per example `[B]`, or a function of the times `t [B]` that returns either."""

COORDINATES = ("log_snr", "time")


def from_w(w: float) -> float:
    """Return the `guidance_scale = 1 + w` of the convention `(1 + w) cond - w uncond` (arXiv 2207.12598)."""
    return 1.0 + w


def interval(
    strength: Strength, sde: SDE, low: float, high: float, *, by: str = "log_snr", outside: float = 1.0
) -> Strength:
    """Return the schedule that is `strength` between two noise levels and `outside` elsewhere (arXiv 2404.07724).

    Args:
        strength: a number, `[B]`, or another schedule.
        sde: the forward process.
        low: the lower end of the interval, included.
        high: the upper end, included.
        by: what `low` and `high` are: `log_snr`, values of `log(alpha^2 / sigma^2)`, or `time`.
        outside: the strength elsewhere. 1 turns classifier-free guidance off, and its second evaluation is then
            skipped; energies and classifiers are off at 0.

    Raises:
        ValueError: if `by` is unknown or `low > high`.
    """
    if by not in COORDINATES:
        raise ValueError(f"interval: unknown coordinate {by!r}; choose one of {', '.join(COORDINATES)}")
    if low > high:
        raise ValueError(f"interval: low must not exceed high, got low={low}, high={high}")
    if by == "log_snr":
        check_kind(sde, LinearSDE, "interval(by='log_snr')")
    function = _inside_log_snr if by == "log_snr" else _inside_time
    return Partial(function, as_leaf(strength), sde, low, high, outside)


def as_leaf(strength: Strength) -> Strength:
    """Return a strength that a pytree can carry: numbers are leaves already, functions become `Partial`s."""
    return Partial(strength) if callable(strength) and not isinstance(strength, Partial) else strength


def is_exactly(strength: Strength, value: float) -> bool:
    """Return whether a strength is a plain number (not traced by JAX) that equals this one."""
    return isinstance(strength, Real) and float(strength) == value


def at(strength: Strength, t: Array, x: Array) -> Array:
    """Return the strength at the times `t [B]`, shaped to multiply `x [B, ...]`."""
    value = jnp.asarray(strength(t) if callable(strength) else strength, x.dtype)
    return per_batch(value, value, x.ndim)


def _inside_log_snr(strength: Strength, sde: LinearSDE, low: Array, high: Array, outside: Array, t: Array) -> Array:
    ratio = sde.mean_log_snr(t)
    return _choose((low <= ratio) & (ratio <= high), strength, outside, t)


def _inside_time(strength: Strength, sde: LinearSDE, low: Array, high: Array, outside: Array, t: Array) -> Array:
    return _choose((low <= t) & (t <= high), strength, outside, t)


def _choose(inside: Array, strength: Strength, outside: Array, t: Array) -> Array:
    return jnp.where(inside, strength(t) if callable(strength) else strength, outside)
