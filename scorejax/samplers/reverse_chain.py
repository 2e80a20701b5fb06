"""Sampling by a reverse chain: Analytic-DPM, NPR-DPM, SN-DPM, DDPM, DDIM, learned variances, on any trajectory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import keys as keys_lib
from scorejax.reverse import ReverseChain, chain
from scorejax.reverse.gamma import Gamma
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score
from scorejax.sdes.linear import LinearSDE


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ChainStepper(Stepper):
    """`x_s ~ p(x_s | x_t)` of a reverse chain; made by `reverse_chain`.

    It knows the steps of its own grid alone: elsewhere it returns NaN, which no caller can overlook.
    """

    chain: ReverseChain

    @property
    def times(self) -> np.ndarray | Array:
        """The grid to give to `sample`."""
        return self.chain.times

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Any) -> Step:
        steps = self.chain.steps
        step = self.chain.step(jnp.argmin(jnp.abs(jnp.asarray(steps.t, t.dtype) - t)))
        mean, variance = self.chain.predict(sde, score, x, step)
        known = (jnp.abs(step.t - t) <= 1e-6 * sde.t_max) & (jnp.abs(step.s - s) <= 1e-6 * sde.t_max)
        mean = jnp.where(known, mean, jnp.nan)
        noise = keys_lib.normal(keys, x.shape, x.dtype)
        std = jnp.sqrt(variance)
        noise = std * noise if std.shape == x.shape else sde.scale(std, step.t, noise)
        return Step(mean + noise, mean)


def reverse_chain(chain: ReverseChain, *, last_noise: float | None = None) -> ChainStepper:
    """Return the stepper of a reverse chain, to be used on `chain.times`.

    Args:
        chain: made by `scorejax.reverse.chain`.
        last_noise: most `E |sigma z|`, in data units, that the last step may add; what it adds stays in the image.
            Analytic-DPM allows 2 / 255 or 4 / 255 for images in [-1, 1] when a Frechet distance is wanted; a
            likelihood is of the chain without it.

    Raises:
        ValueError: if `last_noise` is not positive.
    """
    if last_noise is None:
        return ChainStepper(chain)
    if not last_noise > 0.0:
        raise ValueError(f"last_noise must be positive, got {last_noise}")
    ceiling = np.array(chain.steps.ceiling)
    ceiling[-1] = last_noise**2 * math.pi / 2.0  # E |sigma z| = sigma sqrt(2 / pi)
    return ChainStepper(replace(chain, steps=replace(chain.steps, ceiling=ceiling)))


def analytic(
    sde: LinearSDE,
    times: Array | np.ndarray,
    gamma: Gamma,
    *,
    eta: float = 1.0,
    clip: tuple[float, float] | None = None,
    data_range: tuple[float, float] | None = None,
    last_noise: float | None = None,
) -> ChainStepper:
    """Return Analytic-DPM (arXiv 2201.06503): ancestral sampling with the variance of the highest likelihood.

    Args:
        sde: the forward process.
        times: decreasing times `[K]`; give the same to `sample`.
        gamma: the statistic of the network, of this process.
        eta: 1 for Analytic-DDPM, 0 for Analytic-DDIM.
        clip: bounds of the predicted data, or None.
        data_range: an interval that holds all data, or None.
        last_noise: as in `reverse_chain`.

    Raises:
        ValueError: on a grid that does not decrease, or a `Gamma` of another schedule.
    """
    built = chain(sde, times, variance=gamma, eta=eta, clip=clip, rederive_noise=eta == 1.0, data_range=data_range)
    return reverse_chain(built, last_noise=last_noise)
