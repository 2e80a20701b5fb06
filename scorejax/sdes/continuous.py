"""Continuous-time processes, each by `alpha(t)` and `sigma(t)`: VP, sub-VP, VE, EDM, cosine, flow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics.doors import known
from scorejax.numerics.ranges import NonNegative, Positive
from scorejax.numerics.trees import register_dataclass, static
from scorejax.sdes.corruption import check_static
from scorejax.sdes.linear import LinearSDE


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class VP(LinearSDE):
    """Variance preserving, `beta(t)` linear: `alpha^2 = e^{-B}`, `sigma^2 = 1 - e^{-B}`, `B = int_0^t beta`."""

    beta_min: float | Array
    beta_max: float | Array

    def integrated_beta(self, t: Array) -> Array:
        """Return `B(t) = beta_min t + (beta_max - beta_min) t^2 / 2`."""
        return t * (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * t)

    def inverse_integrated_beta(self, b: Array) -> Array:
        """Return the positive root `t` of `B(t) = b`, in the form without cancellation."""
        slope = self.beta_max - self.beta_min
        return 2.0 * b / (self.beta_min + jnp.sqrt(self.beta_min**2 + 2.0 * slope * b))

    def log_alpha(self, t: Array) -> Array:
        return -0.5 * self.integrated_beta(t)

    def variance(self, t: Array) -> Array:
        return -jnp.expm1(-self.integrated_beta(t))

    def inverse_log_snr(self, log_snr: Array) -> Array:
        return self.inverse_integrated_beta(jax.nn.softplus(-log_snr))


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class SubVP(VP):
    """Sub-variance preserving: the signal of VP with `sigma^2 = (1 - e^{-B})^2`."""

    def variance(self, t: Array) -> Array:
        return jnp.expm1(-self.integrated_beta(t)) ** 2

    def inverse_log_snr(self, log_snr: Array) -> Array:
        # SNR = 1 / (4 sinh^2(B / 2))
        return self.inverse_integrated_beta(2.0 * jnp.arcsinh(0.5 * jnp.exp(-0.5 * log_snr)))


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class VE(LinearSDE):
    """Variance exploding: `alpha = 1`, `sigma(t) = sigma_min (sigma_max / sigma_min)^t`."""

    sigma_min: float | Array
    sigma_max: float | Array

    def log_alpha(self, t: Array) -> Array:
        return jnp.zeros_like(t)

    def variance(self, t: Array) -> Array:
        # a power keeps its digits in float32, where `exp` of an exponent near 17 is off by 2e-6
        return self.sigma_min**2 * (jnp.asarray(self.sigma_max) / self.sigma_min) ** (2.0 * t)

    def inverse_log_snr(self, log_snr: Array) -> Array:
        log_range = jnp.log(jnp.asarray(self.sigma_max) / self.sigma_min)
        return (-0.5 * log_snr - jnp.log(self.sigma_min)) / log_range

    def label(self, t: Array) -> Array:
        """Return `sigma(t)`, the noise label of published VE networks."""
        return self.sigma(t)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class EDM(LinearSDE):
    """The process of Karras et al. (arXiv 2206.00364): `alpha = 1`, `sigma(t) = t`."""

    grid: ClassVar[str] = "karras"  # equal steps of sigma would nearly all lie where there is nothing but noise

    def log_alpha(self, t: Array) -> Array:
        return jnp.zeros_like(t)

    def variance(self, t: Array) -> Array:
        return t**2

    def inverse_log_snr(self, log_snr: Array) -> Array:
        return jnp.exp(-0.5 * log_snr)

    def label(self, t: Array) -> Array:
        """Return `sigma(t) = t`."""
        return t


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Cosine(LinearSDE):
    """Cosine schedule (Nichol & Dhariwal, arXiv 2102.09672): `alpha = cos(u_t) / cos(u_0)`, variance preserving.

    `u_t = (t + s) / (1 + s) pi / 2` with offset `s`.
    """

    offset: float = static()

    def log_alpha(self, t: Array) -> Array:
        # cos u = sin(pi/2 - u), whose argument keeps its digits where the signal vanishes
        left = (1.0 - t) / (1.0 + self.offset) * (math.pi / 2)
        return jnp.log(jnp.sin(left)) - math.log(math.cos(self._angle(0.0)))

    def variance(self, t: Array) -> Array:
        # 1 - cos^2 u / cos^2 u_0 without the cancellation near t = 0
        start, step = self._angle(0.0), t / (1.0 + self.offset) * (math.pi / 2)
        return jnp.sin(step) * jnp.sin(2.0 * start + step) / math.cos(start) ** 2

    def inverse_log_snr(self, log_snr: Array) -> Array:
        start = self._angle(0.0)
        first, last = math.sin(start), math.cos(start)
        sine = jnp.sqrt(first**2 + last**2 * jax.nn.sigmoid(-log_snr))
        cosine = last * jnp.sqrt(jax.nn.sigmoid(log_snr))
        # the sine of the difference of the two angles, without the cancellation at small times
        difference = last**2 * jax.nn.sigmoid(-log_snr) / (sine * last + cosine * first)
        step = jnp.arctan2(difference, cosine * last + sine * first)
        return step * (1.0 + self.offset) / (math.pi / 2)

    def _angle(self, t):
        return (t + self.offset) / (1.0 + self.offset) * (math.pi / 2)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Flow(LinearSDE):
    """The straight path of flow matching (Lipman et al., arXiv 2210.02747): `alpha = 1 - t`, `sigma = t`."""

    def log_alpha(self, t: Array) -> Array:
        return jnp.log1p(-t)

    def variance(self, t: Array) -> Array:
        return t**2

    def inverse_log_snr(self, log_snr: Array) -> Array:
        return jax.nn.sigmoid(-0.5 * log_snr)


def vp(
    beta_min: NonNegative = 0.1, beta_max: Positive = 20.0, *, t_min: NonNegative = 1e-5, t_max: Positive = 1.0
) -> VP:
    """Return the variance preserving SDE `dx = -beta x / 2 dt + sqrt(beta) dw` with linear `beta(t)`.

    Raises:
        ValueError: unless `0 <= beta_min <= beta_max`, `beta_max > 0` and `0 < t_min < t_max`.
    """
    _check_betas(beta_min, beta_max)
    _check_times(t_min, t_max)
    return VP(beta_min=beta_min, beta_max=beta_max, t_min=t_min, t_max=t_max)


def subvp(
    beta_min: NonNegative = 0.1, beta_max: Positive = 20.0, *, t_min: NonNegative = 1e-5, t_max: Positive = 1.0
) -> SubVP:
    """Return the sub-VP SDE `dx = -beta x / 2 dt + sqrt(beta (1 - e^{-2B})) dw` (Score-SDE, eq. 29).

    Raises:
        ValueError: unless `0 <= beta_min <= beta_max`, `beta_max > 0` and `0 < t_min < t_max`.
    """
    _check_betas(beta_min, beta_max)
    _check_times(t_min, t_max)
    return SubVP(beta_min=beta_min, beta_max=beta_max, t_min=t_min, t_max=t_max)


def ve(
    sigma_min: Positive = 0.01, sigma_max: Positive = 50.0, *, t_min: NonNegative = 1e-5, t_max: Positive = 1.0
) -> VE:
    """Return the variance exploding SDE `dx = sigma(t) sqrt(2 log(sigma_max / sigma_min)) dw`.

    As published, `variance(t) = sigma(t)^2`: at `t = 0` the marginal has standard deviation `sigma_min`, not zero.

    Raises:
        ValueError: unless `0 < sigma_min < sigma_max` and `0 <= t_min < t_max`.
    """
    _check_sigmas(sigma_min, sigma_max)
    _check_times(t_min, t_max)
    return VE(sigma_min=sigma_min, sigma_max=sigma_max, t_min=t_min, t_max=t_max)


def edm(sigma_min: Positive = 0.002, sigma_max: Positive = 80.0) -> EDM:
    """Return the process `x_t = x_0 + t noise` integrated over `t = sigma` in `[sigma_min, sigma_max]`.

    Raises:
        ValueError: unless `0 < sigma_min < sigma_max`.
    """
    check_static("edm", sigma_min=sigma_min, sigma_max=sigma_max)
    _check_sigmas(sigma_min, sigma_max)
    return EDM(t_min=sigma_min, t_max=sigma_max)


def cosine(offset: Positive = 0.008, *, t_min: NonNegative = 1e-5, t_max: Positive = 0.9946) -> Cosine:
    """Return the variance preserving process with the cosine schedule; `t_max < 1` keeps `beta` finite.

    Raises:
        ValueError: unless `offset > 0` and `0 < t_min < t_max < 1`.
    """
    check_static("cosine", offset=offset)
    if not offset > 0:
        raise ValueError(f"cosine: offset must be positive, got {offset}")
    _check_times(t_min, t_max, below=1.0)
    return Cosine(offset=offset, t_min=t_min, t_max=t_max)


def flow(*, t_min: NonNegative = 1e-5, t_max: Positive = 0.995) -> Flow:
    """Return the straight path `x_t = (1 - t) x_0 + t noise`; `t_max < 1` keeps the drift `-x / (1 - t)` finite.

    The default leaves as much signal at `t_max` as VP does, a signal-to-noise ratio of 2.5e-5.

    Raises:
        ValueError: unless `0 < t_min < t_max < 1`.
    """
    _check_times(t_min, t_max, below=1.0)
    return Flow(t_min=t_min, t_max=t_max)


def _check_betas(beta_min: float, beta_max: float) -> None:
    if known(beta_min, beta_max) and not (0.0 <= beta_min <= beta_max and beta_max > 0.0):
        raise ValueError(
            f"need 0 <= beta_min <= beta_max and beta_max > 0, got beta_min={beta_min}, beta_max={beta_max}"
        )


def _check_sigmas(sigma_min: float, sigma_max: float) -> None:
    if known(sigma_min, sigma_max) and not 0.0 < sigma_min < sigma_max:
        raise ValueError(f"need 0 < sigma_min < sigma_max, got sigma_min={sigma_min}, sigma_max={sigma_max}")


def _check_times(t_min: float, t_max: float, below: float = math.inf) -> None:
    check_static("a process", t_min=t_min, t_max=t_max)
    if not (0.0 <= t_min < t_max and t_max < below):
        limit = "" if below == math.inf else f" < {below}"
        raise ValueError(f"need 0 <= t_min < t_max{limit}, got t_min={t_min}, t_max={t_max}")
