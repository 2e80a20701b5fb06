"""The samplers of EDM: Euler and Heun steps for `dy / dr = noise`, `y = x / alpha`, `r = sigma / alpha`, with churn.

In these variables the probability-flow ODE of every process is the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import jax.numpy as jnp
from annotated_types import Interval
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import NonNegative, Positive
from scorejax.numerics.trees import register_dataclass, static
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score
from scorejax.sdes.linear import LinearSDE


@register_dataclass
@dataclass(frozen=True)
class EDMSampler(Stepper):
    """Runge-Kutta for `dy / dr = noise(x, t)`, where `y = x / alpha` and `r = sigma / alpha`.

    That is the probability-flow ODE of every process (EDM, arXiv 2206.00364, eq. 4 and 81, freed of `s(t)`).
    """

    churn: float | Array
    s_min: float | Array
    s_max: float | Array
    s_noise: float | Array
    order: int = static()
    stochastic: bool = static()

    def init(self, sde: LinearSDE, x: Array, times: Array) -> Array:
        # the step from the last time to no noise at all, EDM's last, is the driver's `denoise`
        return jnp.minimum(self.churn / times.shape[0], math.sqrt(2.0) - 1.0)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Array) -> Step:
        if self.stochastic:
            x, t = self._add_noise(keys, sde, x, t, memory)

        def slope(x: Array, t: Array) -> Array:
            return -sde.scale(sde.sigma(t), t, score(x, t))

        # x_s = (alpha_s / alpha_t) x_t + alpha_s (r_s - r_t) slope, and alpha_s (r_s - r_t) = -sigma_s (e^h - 1)
        h = 0.5 * (sde.log_snr(s) - sde.log_snr(t))
        kept = sde.scale(jnp.exp(sde.log_alpha(s) - sde.log_alpha(t)), t, x)
        length, first = -sde.sigma(s) * jnp.expm1(h), slope(x, t)
        mean = kept + sde.scale(length, t, first)
        # the last step reaches `t_min` and not zero noise, where the second slope would not exist
        if self.order == 2:
            mean = kept + sde.scale(0.5 * length, t, first + slope(mean, s))
        return Step(mean, memory)

    def _add_noise(self, keys: Array, sde: LinearSDE, x: Array, t: Array, gamma: Array) -> tuple[Array, Array]:
        """Return the points raised from `r` to the level `(1 + gamma) r`, and its time.

        Where the modes differ, `r` is the geometric mean over them.
        """
        ratio = jnp.exp(-0.5 * sde.mean_log_snr(t))
        active = (self.s_min <= ratio) & (ratio <= self.s_max)
        raised = sde.inverse_log_snr(sde.mean_log_snr(t) - 2.0 * jnp.log1p(gamma))
        raised = jnp.where(active, raised, t)  # where a table of levels ends, the highest
        growth = jnp.expm1(sde.log_snr(t) - sde.log_snr(raised))
        spread = self.s_noise * sde.alpha(raised) * jnp.exp(-0.5 * sde.log_snr(t)) * jnp.sqrt(jnp.maximum(growth, 0.0))
        x = sde.scale(jnp.exp(sde.log_alpha(raised) - sde.log_alpha(t)), t, x)
        return x + sde.scale(spread, t, keys_lib.normal(keys, x.shape, x.dtype)), raised


def heun(
    churn: NonNegative = 0.0,
    *,
    s_min: NonNegative = 0.0,
    s_max: Annotated[float, Interval(ge=0, le=math.inf)] = math.inf,
    s_noise: Positive = 1.0,
) -> EDMSampler:
    """Return EDM's second-order sampler (arXiv 2206.00364, algorithms 1 and 2), two evaluations a step.

    It steps in `r = sigma / alpha`, along which the paths of the flow are nearly straight;
    `probability_flow("heun")` is the same method in `t`, which is the same thing only where `sigma(t) = t`. On
    `times.karras(sde, n)` with `denoise=True` it makes `n + 1` of EDM's steps, the last to no noise at all, and
    `2 n + 1` evaluations.

    Args:
        churn: `S_churn`, noise added over the whole run: each of the `n + 1` levels is raised by the factor
            `1 + min(churn / (n + 1), sqrt(2) - 1)` before its step. 0 is deterministic.
        s_min: `S_tmin`, the least noise-to-signal ratio at which noise is added.
        s_max: `S_tmax`, the largest.
        s_noise: `S_noise`, the standard deviation of the noise; a little over 1 makes up for lost detail.

    Raises:
        ValueError: unless `churn >= 0`, `0 <= s_min <= s_max` and `s_noise > 0`.
    """
    return _edm("heun", 2, churn, s_min, s_max, s_noise)


def euler(
    churn: NonNegative = 0.0,
    *,
    s_min: NonNegative = 0.0,
    s_max: Annotated[float, Interval(ge=0, le=math.inf)] = math.inf,
    s_noise: Positive = 1.0,
) -> EDMSampler:
    """Return `heun` without its second evaluation: order 1, and without churn equal to DDIM; arguments as there.

    Raises:
        ValueError: unless `churn >= 0`, `0 <= s_min <= s_max` and `s_noise > 0`.
    """
    return _edm("euler", 1, churn, s_min, s_max, s_noise)


def _edm(name: str, order: int, churn: float, s_min: float, s_max: float, s_noise: float) -> EDMSampler:
    known = doors.known(churn, s_min, s_max, s_noise)
    if known and not (churn >= 0.0 and 0.0 <= s_min <= s_max and s_noise > 0.0):
        raise ValueError(
            f"{name}: need churn >= 0, 0 <= s_min <= s_max and s_noise > 0, got {churn}, {s_min}, {s_max}, {s_noise}"
        )
    return EDMSampler(churn, s_min, s_max, s_noise, order, not doors.known(churn) or churn > 0.0)
