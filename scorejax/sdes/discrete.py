"""Chains of noise levels (DDPM, SMLD): `alpha` and `sigma` are tables in float64, level `n` of `N` is at time `n / N`.

Between the levels a smooth curve makes the chain a continuous process too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge
from jax import Array

from scorejax.numerics.host_arrays import host_array
from scorejax.numerics.ranges import Count, Inside01, Positive
from scorejax.numerics.trees import register_dataclass, static
from scorejax.sdes.corruption import check_static
from scorejax.sdes.linear import LinearSDE

Schedule: TypeAlias = Literal["linear", "cosine", "quad", "vpsde"]
SCHEDULES = get_args(Schedule)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Table:
    """A smooth monotone curve through `y_0 .. y_M`, evaluated at real positions (piecewise cubic).

    Attributes:
        coefficients: `[4, M]`, highest power first, each polynomial in the distance from its left knot.
    """

    coefficients: np.ndarray | Array = host_array()

    @staticmethod
    def through(values: np.ndarray) -> Table:
        """Build the curve in float64: the cubic spline where that is monotone, else the C1 monotone cubics."""
        from scipy.interpolate import CubicSpline, PchipInterpolator  # slow to import, needed by chains alone

        knots = np.arange(len(values))
        # Too few knots for the end conditions of the cubic spline.
        if len(values) < 4:
            return Table(coefficients=PchipInterpolator(knots, values).c)
        spline = CubicSpline(knots, values)
        # A spline may overshoot between its knots, and a curve that turns back has no inverse.
        fine = np.linspace(0, knots[-1], 16 * len(values))
        monotone = np.all(spline(fine, 1) > 0)
        return Table(coefficients=spline.c if monotone else PchipInterpolator(knots, values).c)

    def __call__(self, position: Array) -> Array:
        """Return the curve at `position`; beyond the ends the last polynomials go on."""
        position = jnp.asarray(position, jnp.result_type(float))
        table = jnp.asarray(self.coefficients, position.dtype)
        # The piece is chosen without a gradient; within it the polynomial is differentiable in `position`.
        left = jnp.clip(jnp.floor(jax.lax.stop_gradient(position)), 0, table.shape[1] - 1)
        cubic, square, slope, value = table[:, left.astype(jnp.int32)]
        u = position - left
        return value + u * (slope + u * (square + u * cubic))

    def locate(self, value: Array) -> Array:
        """Return the position at which the increasing curve has the given value, within its knots."""
        value = jnp.asarray(value, jnp.result_type(float))
        knots = jnp.asarray(self.coefficients, value.dtype)[3]
        knots = jnp.append(knots, self(jnp.asarray(knots.shape[0], value.dtype)))
        low = jnp.clip(jnp.searchsorted(knots, value, side="right") - 1, 0, knots.shape[0] - 2).astype(value.dtype)
        high = low + 1.0

        def refine(i: Array, bracket: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            position, low, high = bracket
            height, slope = jax.jvp(self, (position,), (jnp.ones_like(position),))
            low, high = jnp.where(height < value, position, low), jnp.where(height < value, high, position)
            newton = jnp.clip(position - (height - value) / jnp.maximum(slope, 1e-30), low, high)
            return jnp.where(i < 4, 0.5 * (low + high), newton), low, high

        # bisection comes close wherever the curve bends; Newton then doubles its digits each time
        return jax.lax.fori_loop(0, 10, refine, (0.5 * (low + high), low, high))[0]


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Chain(LinearSDE):
    """A chain of `levels` noise levels; level `n = 1 .. levels` is at time `n / levels`, level 0 is the data.

    Between the levels the table is interpolated smoothly, which is itself a valid process, so that every solver may
    stop there.

    Attributes:
        levels: `N`, the number of noise levels.
    """

    ends_at_data: ClassVar[bool] = True
    levels: int = static()

    def label(self, t: Array) -> Array:
        """Return `n - 1` for level `n`: the integer that discretely trained networks take."""
        return self._level(t) - 1.0

    def time_of(self, u: Array) -> Array:
        """Map `u` in [0, 1) to the time of one of the N levels."""
        return (jnp.minimum(jnp.floor(u * self.levels), self.levels - 1) + 1.0) / self.levels

    def _level(self, t: Array) -> Array:
        """Return `N t`, an exact integer at the times of the levels, so that a network may use it as an index."""
        position = t * self.levels
        nearest = jnp.round(position)
        return jnp.where(jnp.abs(position - nearest) < 2e-6 * self.levels, nearest, position)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class DDPM(Chain):
    """The chain of Ho et al. (arXiv 2006.11239): `alpha_n^2 = prod_i (1 - beta_i)`, `sigma_n^2 = 1 - alpha_n^2`.

    Attributes:
        decay: `-log alpha_n` at `n = 0 .. N`.
    """

    decay: Table

    def log_alpha(self, t: Array) -> Array:
        return -self.decay(t * self.levels)

    def variance(self, t: Array) -> Array:
        return -jnp.expm1(2.0 * self.log_alpha(t))

    def inverse_log_snr(self, log_snr: Array) -> Array:
        return self.decay.locate(0.5 * jax.nn.softplus(-log_snr)) / self.levels


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class SMLD(Chain):
    """The noise levels of NCSN (arXiv 1907.05600): `alpha = 1`, `sigma_1 < ... < sigma_N`.

    Attributes:
        log_sigma: `log sigma_n` at `n = 1 .. N`.
    """

    log_sigma: Table

    def log_alpha(self, t: Array) -> Array:
        return jnp.zeros_like(t)

    def variance(self, t: Array) -> Array:
        return jnp.exp(2.0 * self.log_sigma(t * self.levels - 1.0))

    def inverse_log_snr(self, log_snr: Array) -> Array:
        return (self.log_sigma.locate(-0.5 * log_snr) + 1.0) / self.levels

    def label(self, t: Array) -> Array:
        """Return `N - n` for level `n`: networks of SMLD count their levels from the largest noise down."""
        return self.levels - self._level(t)


def ddpm(schedule: Schedule | Sequence[Inside01] = "linear", n: Count = 1000) -> DDPM:
    """Return the discrete DDPM chain of `n` levels.

    Args:
        schedule: `linear` (beta from 1e-4 to 0.02, both times 1000 / n), `quad` (the same ends, linear in
            sqrt beta), `cosine` (Nichol & Dhariwal, beta capped at 0.999), `vpsde` (exact discretization of
            the VP SDE with beta 0.1 .. 20), or the betas themselves.
        n: number of levels (ignored when betas are given).

    Raises:
        ValueError: if the schedule is unknown or a beta leaves (0, 1).
    """
    check_static("ddpm", schedule=schedule, n=n)
    betas = betas_of("ddpm", schedule, n)
    decay = np.concatenate([[0.0], -0.5 * np.cumsum(np.log1p(-betas))])
    return DDPM(decay=Table.through(decay), levels=len(betas), t_min=1.0 / len(betas), t_max=1.0)


def smld(sigma_min: Positive = 0.01, sigma_max: Positive = 50.0, n: Annotated[int, Ge(2)] = 1000) -> SMLD:
    """Return the discrete SMLD chain: `n` levels, geometric from `sigma_min` to `sigma_max`.

    Raises:
        ValueError: unless `0 < sigma_min < sigma_max` and `n >= 2`.
    """
    check_static("smld", sigma_min=sigma_min, sigma_max=sigma_max, n=n)
    if not (0.0 < sigma_min < sigma_max and n >= 2):
        raise ValueError(f"smld: need 0 < sigma_min < sigma_max and n >= 2, got {sigma_min}, {sigma_max}, n={n}")
    table = Table.through(np.linspace(np.log(sigma_min), np.log(sigma_max), n))
    return SMLD(log_sigma=table, levels=n, t_min=1.0 / n, t_max=1.0)


def betas_of(what: str, schedule: Schedule | Sequence[float], n: int) -> np.ndarray:
    """Return the betas of a schedule, the share of variance that each of the `n` levels replaces by noise.

    Raises:
        ValueError: if the schedule is unknown or a beta leaves (0, 1); `what` says of what.
    """
    betas = _betas(what, schedule, n) if isinstance(schedule, str) else np.asarray(schedule, np.float64)
    if betas.ndim != 1 or not np.all((betas > 0.0) & (betas < 1.0)):
        raise ValueError(
            f"{what}: every beta must lie in (0, 1), got values from {betas.min():.4g} to {betas.max():.4g} for "
            f"schedule={schedule if isinstance(schedule, str) else 'given betas'!r}, n={len(betas)}; "
            "use more levels or schedule='cosine' or 'vpsde'"
        )
    return betas


def _betas(what: str, schedule: str, n: int) -> np.ndarray:
    if n < 1:
        raise ValueError(f"{what}: n must be at least 1, got {n}")
    steps = np.arange(n + 1, dtype=np.float64) / n
    if schedule == "linear":
        return np.linspace(1e-4, 2e-2, n) * (1000.0 / n)
    if schedule == "quad":
        return np.linspace(1e-4**0.5, 2e-2**0.5, n) ** 2 * (1000.0 / n)
    if schedule == "cosine":
        signal = np.cos((steps + 0.008) / 1.008 * np.pi / 2) ** 2
        return np.minimum(1.0 - signal[1:] / signal[:-1], 0.999)
    if schedule == "vpsde":
        return -np.expm1(-np.diff(0.1 * steps + 0.5 * 19.9 * steps**2))
    raise ValueError(f"unknown schedule {schedule!r}; choose one of {', '.join(SCHEDULES)}, or give the betas")
