"""Langevin methods: steps at one noise level, used as correctors or on their own.

As a corrector at level `t` such a step mixes the samples towards `p_t`; the time `s` below it only enters through
`alpha_{t|s}^2`, the `alpha_i` of Score-SDE's step sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from scorejax import keys as keys_lib
from scorejax.samplers.stepper import Step, Stepper
from scorejax.score import Score
from scorejax.sdes.linear import LinearSDE, per_batch, static

NORMS = ("sample", "batch", "dimension")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Langevin(Stepper):
    """`x <- x + e score + sqrt(2 e) z` with `e = 2 alpha (snr |z| / |score|)^2`."""

    snr: float | Array
    steps: int = static(default=1)
    norm: str = static(default="sample")

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Any) -> Step:
        def size(gradient: Array, noise: Array) -> Array:
            return 2.0 * _step_alpha(sde, s, t) * (self.snr * self._ratio(gradient, noise)) ** 2

        return _langevin(keys, score, x, t, self.steps, size)

    def _ratio(self, gradient: Array, noise: Array) -> Array:
        dims = noise.size // noise.shape[0]
        if self.norm != "batch" and dims < 3:
            raise ValueError(
                f"langevin: with norm={self.norm!r} the step, proportional to 1 / |score|^2, has an infinite mean "
                f"below three dimensions, got {dims}; use langevin(..., norm='batch') or ald(...)"
            )
        g, z = _norms(gradient), _norms(noise)
        if self.norm == "batch":
            g, z = jnp.mean(g), jnp.mean(z)
        elif self.norm == "dimension":
            z = jnp.full_like(z, dims**0.5)
        return z / jnp.maximum(g, jnp.finfo(g.dtype).tiny)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AnnealedLangevin(Stepper):
    """`x <- x + e score + sqrt(2 e) z` with `e = 2 alpha (snr sigma_t)^2`."""

    snr: float | Array
    steps: int = static(default=1)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Any) -> Step:
        # a process with its own sigma per mode steps with the root mean square, one number
        variance = jnp.mean(sde.variance(t))
        size = 2.0 * _step_alpha(sde, s, t) * self.snr**2 * variance
        return _langevin(keys, score, x, t, self.steps, lambda gradient, noise: size)


def langevin(snr: float, steps: int = 1, norm: str = "sample") -> Langevin:
    """Return Langevin steps whose size keeps the signal-to-noise ratio `snr` (Score-SDE, algorithms 4 and 5).

    Args:
        snr: `r`, typically 0.05 .. 0.2 (0.16 for CIFAR-10 with VE).
        steps: steps at each level.
        norm: `sample` uses each sample's own norms, so that a sample never depends on its batch-mates; `batch`
            averages the norms over the batch, as the published code does; `dimension` replaces `|z|` by sqrt(D).
            A step that depends on the sample it moves has a slightly wider stationary law: the variance grows by a
            factor of about `1 + 4 / D` for `sample` and `1 + 2 / D` for `dimension`, however small `snr` is. That
            is nothing for images; for vectors of a few dimensions use `batch`, or `ald`.

    Raises:
        ValueError: unless `snr > 0`, `steps >= 1` and the norm is known; when stepping, for samples of one or two
            dimensions with a norm other than `batch`.
    """
    if norm not in NORMS:
        raise ValueError(f"langevin: unknown norm {norm!r}; choose one of {', '.join(NORMS)}")
    _check(snr, steps)
    return Langevin(snr, steps, norm)


def ald(snr: float, steps: int = 1) -> AnnealedLangevin:
    """Return annealed Langevin dynamics, step size proportional to `sigma_t^2` (Song & Ermon, arXiv 1907.05600).

    Args:
        snr: `r`; NCSN's `epsilon_0` is `2 (r sigma_min)^2`.
        steps: steps at each level.

    Raises:
        ValueError: unless `snr > 0` and `steps >= 1`.
    """
    _check(snr, steps)
    return AnnealedLangevin(snr, steps)


def _langevin(keys: Array, score: Score, x: Array, t: Array, steps: int, size) -> Step:
    mean = x
    for i in range(steps):
        gradient = score(x, t)
        noise = keys_lib.normal(keys_lib.fold_in(keys, i), x.shape, x.dtype)
        epsilon = size(gradient, noise)
        epsilon = per_batch(epsilon, epsilon, x.ndim)
        mean = x + epsilon * gradient
        x = mean + jnp.sqrt(2.0 * epsilon) * noise
    return Step(x, mean)


def _step_alpha(sde: LinearSDE, s: Array, t: Array) -> Array:
    return jnp.mean(sde.transition(s, t)[0]) ** 2


def _norms(x: Array) -> Array:
    return jnp.linalg.norm(x.reshape(x.shape[0], -1), axis=1)


def _check(snr: float, steps: int) -> None:
    if not snr > 0 or steps < 1:
        raise ValueError(f"a Langevin method needs snr > 0 and steps >= 1, got snr={snr}, steps={steps}")
