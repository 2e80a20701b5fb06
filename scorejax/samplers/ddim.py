"""DDIM: `x_s = c_t x_t + c_0 E[x_0 | x_t] + eta sqrt(v) z`, from the probability-flow ODE to ancestral sampling.

The coefficients keep the marginals of every process, not of DDPM alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Positive, Share
from scorejax.numerics.trees import register_dataclass, static
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score, tweedie
from scorejax.sdes.corruption import Time
from scorejax.sdes.linear import LinearSDE


def ddim_variance(sde: LinearSDE, s: Time, t: Time, eta: float | Array) -> Array:
    """Return `eta^2` times the posterior variance of `q(x_s | x_t, x_0)`, for `s < t` (DDIM, eq. 16)."""
    return eta**2 * sde.posterior(s, t)[2]


def ddim_coefficients(sde: LinearSDE, s: Time, t: Time, variance: Array) -> tuple[Array, Array]:
    """Return `(c_t, c_0)` of `q(x_s | x_t, x_0) = N(c_t x_t + c_0 x_0, variance)` (DDIM, arXiv 2010.02502, eq. 7).

    The one Gaussian of that variance which keeps the marginals of every process:

        c_t = sqrt(sigma_s^2 - variance) / sigma_t,  c_0 = alpha_s - alpha_t c_t.

    Args:
        sde: the forward process.
        s: the earlier time.
        t: the later time.
        variance: between 0 (deterministic) and `sigma_s^2`, of the shape of a coefficient at `t`.
    """
    # in logarithms c_0 = alpha_s (1 - e^h) with a small h, which `expm1` keeps all digits of where steps are short
    share = 0.5 * jnp.log1p(-variance / sde.variance(jnp.asarray(s)))  # half the log of what is left of sigma_s^2
    c_t = jnp.exp(share) * sde.sigma(s) / sde.sigma(t)
    return c_t, -sde.alpha(s) * jnp.expm1(share - 0.5 * (sde.log_snr(s) - sde.log_snr(t)))


@register_dataclass
@dataclass(frozen=True)
class DDIM(Stepper):
    """`x_s ~ N(c_t x_t + c_0 x_0, eta^2 v)` at `x_0 = E[x_0 | x_t]`, with the posterior variance `v`."""

    eta: float | Array
    clip: float | Array | None = None
    rederive_noise: bool = static(default=True)
    stochastic: bool = static(default=False)

    @property
    def decides_clip(self) -> bool:
        return self.clip is not None

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        variance = ddim_variance(sde, s, t, self.eta)
        c_t, c_0 = ddim_coefficients(sde, s, t, variance)
        data = tweedie(sde, x, t, score(x, t))
        mean = sde.scale(c_t, t, x) + sde.scale(c_0, t, data)
        if self.clip is not None:
            kept = jnp.clip(data, -self.clip, self.clip)
            # the noise that goes on is that of the clipped data, (x_t - alpha_t x_0) / sigma_t, or the network's own
            mean = mean + sde.scale(c_0 if self.rederive_noise else sde.alpha(s), t, kept - data)
        if not self.stochastic:
            return Step(mean)
        noise = keys_lib.normal(keys, x.shape, x.dtype)
        return Step(mean + sde.scale(jnp.sqrt(variance), t, noise))


def ddim(eta: Share = 0.0, *, clip: Positive | None = None, rederive_noise: bool = True) -> DDIM:
    """Return DDIM (arXiv 2010.02502) for any process: one evaluation a step, of order 1.

    `eta = 0` is deterministic and equal to DPM-Solver of order 1; `eta = 1` is ancestral sampling with the posterior
    variance, which for Gaussian steps is DDPM.

    Args:
        eta: share of the posterior's standard deviation.
        clip: clip predicted data to `[-clip, clip]`; `clip` of `scorejax.sample` takes any interval, for any method.
        rederive_noise: after clipping, let the noise follow from the clipped data rather than from the network;
            published code does either.

    Raises:
        ValueError: unless `0 <= eta <= 1` and `clip` is positive.
    """
    if doors.known(eta) and not 0.0 <= eta <= 1.0:
        raise ValueError(f"ddim: eta must lie in [0, 1], got {eta}")
    if clip is not None and doors.known(clip) and not clip > 0:
        raise ValueError(f"ddim: clip must be positive or None, got {clip}")
    return DDIM(eta, clip, rederive_noise, not doors.known(eta) or eta > 0)
