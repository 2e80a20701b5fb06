"""The process that does not move: one density, at one level of noise, under every time.

It is the process of a score that knows no time: of an energy, or of a score that was trained at a single noise level.
Langevin chains run on it; diffusions, which carry the prior to the data, do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import register_dataclass
from scorejax.sdes.linear import LinearSDE


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Still(LinearSDE):
    """`q(x_t | x_0) = N(x_0, noise^2)` at every time."""

    moves: ClassVar[bool] = False
    prior_is_noise: ClassVar[bool] = False
    noise: float | Array
    start_scale: float | Array

    def log_alpha(self, t: Array) -> Array:
        return jnp.zeros_like(t)

    def variance(self, t: Array) -> Array:
        return jnp.full_like(t, self.noise**2)

    def inverse_log_snr(self, log_snr: Array) -> Array:
        return jnp.full_like(log_snr, self.t_max)

    def label(self, t: Array) -> Array:
        """Return the noise label of networks, 1 at every time."""
        return jnp.ones_like(t)

    # The one process whose prior is no limit of its noise: it is where chains begin, not the law at `t_max`.
    def prior_sample(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Draw where chains begin, from `N(0, start_scale^2)`; `key` is one key or one per sample `[B]`."""
        shape = doors.batch_shape(shape)
        return self.start_scale * keys_lib.normal(keys_lib.per_example(key, shape[0]), shape)


def still(sigma: float | Array = 0.0, *, start_scale: float | Array = 1.0) -> Still:
    """Return the process of a score that knows no time, `q(x_t | x_0) = N(x_0, sigma^2)` at every `t` in [0, 1].

    Samplers that stay at one level run on it (`samplers.ula`, `samplers.mala`), on grids such as
    `times.uniform(sde, n)`. It is no diffusion: samplers that move and likelihoods by an ODE refuse it.

    Args:
        sigma: standard deviation of the noise in the density whose score is known; 0: clean data.
        start_scale: standard deviation of the normal law in which chains begin.

    Raises:
        ValueError: unless `sigma >= 0` and `start_scale > 0`.
    """
    if doors.known(sigma, start_scale) and not (sigma >= 0 and start_scale > 0):
        raise ValueError(f"still needs sigma >= 0 and start_scale > 0, got sigma={sigma}, start_scale={start_scale}")
    return Still(noise=sigma, start_scale=start_scale, t_min=0.0, t_max=1.0)
