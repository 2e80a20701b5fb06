"""Steps that forget their noise: the predicted data at the next level, with fresh noise.

    x_s = alpha_s E[x_0 | x_t] + noise sigma_s z

It is the sampler of inverse heat dissipation (Rissanen et al., arXiv 2206.13397), whose levels share no noise. It tends
to no law: `E[x_0 | x_t]` is narrower than the data by what is not known yet, and each step forgets the noise that could
make up for it. So more steps make samples more alike, which the larger noise of that publication counters.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import NonNegative
from scorejax.numerics.trees import register_dataclass
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score
from scorejax.sdes.linear import LinearSDE


@register_dataclass
@dataclass(frozen=True)
class Renoise(Stepper):
    """`x_s = alpha_s E[x_0 | x_t] + noise sigma_s z`."""

    noise: float | Array

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        # in one factor for each mode: a blurred one may be divided by a tiny `alpha_t`
        ratio = jnp.exp(sde.log_alpha(s) - sde.log_alpha(t))
        signal = sde.scale(ratio, t, x) + sde.scale(ratio * sde.variance(t), t, score(x, t))
        z = keys_lib.normal(keys, x.shape, x.dtype)
        return Step(signal + sde.scale(self.noise * sde.sigma(s), s, z))


def renoise(noise: NonNegative = 1.0) -> Renoise:
    """Return steps to the predicted data of the next level with fresh noise on them.

    For inverse heat dissipation, whose noise is small; with other processes samples get more alike the more steps.

    Args:
        noise: of each step, in units of the process's own; for inverse heat dissipation 1.25 to 1.3 was published.

    Raises:
        ValueError: unless `noise >= 0`.
    """
    if doors.known(noise) and not noise >= 0.0:
        raise ValueError(f"renoise: noise must not be negative, got {noise}")
    return Renoise(noise)
