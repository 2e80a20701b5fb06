"""One-step methods for the reverse SDE and the probability-flow ODE.

All use true grid differences and the process's exact transitions, never an index floored from a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import reverse
from scorejax.numerics.trees import register_dataclass, static
from scorejax.reverse import VARIANCES, ReverseChain
from scorejax.samplers.stepper import Kernel, Step, Stepper
from scorejax.scores.predictions import Score, reverse_drift, tweedie
from scorejax.scores.predictions import probability_flow as flow_drift
from scorejax.sdes.corruption import SDE, Corruption
from scorejax.sdes.linear import LinearSDE

Method: TypeAlias = Literal["euler", "heun", "rk4"]
ODE_METHODS = get_args(Method)


@register_dataclass
@dataclass(frozen=True)
class EulerMaruyama(Stepper):
    """`x_s = x_t - h (f x_t - g^2 score) + sqrt(h) g z`, `h = t - s`."""

    process: ClassVar[type[Corruption]] = SDE

    def kernel(self, sde: SDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Kernel:
        h = t - s
        return Kernel(x - h * reverse_drift(sde, score)(x, t), jnp.sqrt(h) * sde.diffusion(t))

    def step(self, keys: Array, sde: SDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        return self.kernel(sde, score, x, t, s, memory).draw(keys, sde, t)


@register_dataclass
@dataclass(frozen=True)
class ReverseDiffusion(Stepper):
    """`x_s = (2 - a) x_t + v score + sqrt(v) z` with the exact transition `q(x_t | x_s) = N(a x_s, v)`."""

    ode: bool = static(default=False)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        a, v = sde.transition(s, t)
        weight = 0.5 * v if self.ode else v
        mean = sde.scale(2.0 - a, t, x) + sde.scale(weight, t, score(x, t))
        return Step(mean) if self.ode else Kernel(mean, jnp.sqrt(v)).draw(keys, sde, t)


@register_dataclass
@dataclass(frozen=True)
class Ancestral(Stepper):
    """`x_s ~ q(x_s | x_t, x_0)` at `x_0 = E[x_0 | x_t]`: the exact posterior step of any process."""

    variance: str = static(default="posterior")

    def kernel(self, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Kernel:
        c_t, c_0, v = sde.posterior(s, t)
        data = tweedie(sde, x, t, score(x, t))
        mean = sde.scale(c_t, t, x) + sde.scale(c_0, t, data)
        variance = v if self.variance == "posterior" else sde.transition(s, t)[1]
        return Kernel(mean, jnp.sqrt(variance))

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        return self.kernel(sde, score, x, t, s, memory).draw(keys, sde, t)

    def chain(self, sde: LinearSDE, times: Array | np.ndarray) -> ReverseChain:
        return reverse.chain(sde, times, variance=self.variance)


@register_dataclass
@dataclass(frozen=True)
class ProbabilityFlow(Stepper):
    """The probability-flow ODE `dx = (f x - g^2 score / 2) dt` by a fixed-step Runge-Kutta method."""

    process: ClassVar[type[Corruption]] = SDE
    method: str = static(default="euler")

    def step(self, keys: Array, sde: SDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        # `h` is negative: time runs from the prior down to the data.
        drift, h = flow_drift(sde, score), s - t
        k1 = drift(x, t)
        if self.method == "euler":
            x = x + h * k1
        elif self.method == "heun":
            x = x + 0.5 * h * (k1 + drift(x + h * k1, s))
        else:
            k2 = drift(x + 0.5 * h * k1, t + 0.5 * h)
            k3 = drift(x + 0.5 * h * k2, t + 0.5 * h)
            k4 = drift(x + h * k3, s)
            x = x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        return Step(x)


def euler_maruyama() -> EulerMaruyama:
    """Return the Euler-Maruyama method for the reverse SDE; weak order 1."""
    return EulerMaruyama()


def reverse_diffusion(*, probability_flow: bool = False) -> ReverseDiffusion:
    """Return the reverse-diffusion predictor (Score-SDE, appendix E); weak order 1.

    Args:
        probability_flow: half the score term and no noise, which discretizes the probability-flow ODE.
    """
    return ReverseDiffusion(probability_flow)


def ancestral(variance: Literal["posterior", "forward"] = "posterior") -> Ancestral:
    """Return ancestral sampling for any process (DDPM; Score-SDE, appendix F); weak order 1.

    Args:
        variance: `posterior` (DDPM's beta tilde) or `forward` (its beta, `sigma_t^2 - a^2 sigma_s^2`).

    Raises:
        ValueError: on an unknown variance.
    """
    if variance not in VARIANCES:
        raise ValueError(f"ancestral: unknown variance {variance!r}; choose one of {', '.join(VARIANCES)}")
    return Ancestral(variance)


def probability_flow(method: Method = "euler") -> ProbabilityFlow:
    """Return a fixed-step method for the probability-flow ODE.

    Args:
        method: `euler` (order 1, one evaluation a step), `heun` (2, two) or `rk4` (4, four).

    Raises:
        ValueError: on an unknown method.
    """
    if method not in ODE_METHODS:
        raise ValueError(f"probability_flow: unknown method {method!r}; choose one of {', '.join(ODE_METHODS)}")
    return ProbabilityFlow(method)
