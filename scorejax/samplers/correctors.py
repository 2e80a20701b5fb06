"""Langevin methods: steps at one noise level, used as correctors or on their own.

As a corrector at level `t` such a step mixes the samples toward `p_t`; the time `s` below it only enters through
`alpha_{t|s}^2`, the `alpha_i` of Score-SDE's step sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Positive
from scorejax.numerics.trees import register_dataclass, static
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import SDE, Corruption, per_batch
from scorejax.sdes.linear import LinearSDE

Norm: TypeAlias = Literal["sample", "batch", "dimension"]
NORMS = get_args(Norm)


@register_dataclass
@dataclass(frozen=True)
class Langevin(Stepper):
    """`x <- x + e score + sqrt(2 e) z` with `e = 2 alpha (snr |z| / |score|)^2`."""

    process: ClassVar[type[Corruption]] = SDE
    stays: ClassVar[bool] = True
    snr: float | Array
    steps: int = static(default=1)
    norm: str = static(default="sample")

    def step(self, keys: Array, sde: SDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        def size(gradient: Array, noise: Array) -> Array:
            return 2.0 * _step_alpha(sde, s, t) * (self.snr * self._ratio(gradient, noise)) ** 2

        return _langevin(keys, score, x, t, self.steps, size, sde.settled)

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
        # where the score vanishes the step is long but finite
        return z / jnp.maximum(g, jnp.finfo(g.dtype).tiny)


@register_dataclass
@dataclass(frozen=True)
class ALD(Stepper):
    """`x <- x + e score + sqrt(2 e) z` with `e = 2 alpha (snr sigma_t)^2`."""

    stays: ClassVar[bool] = True
    snr: float | Array
    steps: int = static(default=1)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        # a process with its own sigma per mode steps with the root mean square, one number
        variance = jnp.mean(sde.variance(t))
        size = 2.0 * _step_alpha(sde, s, t) * self.snr**2 * variance
        return _langevin(keys, score, x, t, self.steps, lambda gradient, noise: size)


@register_dataclass
@dataclass(frozen=True)
class AnnealedLangevin(Stepper):
    """`steps` updates `x <- x + e score + sqrt(2 e) z` at every level, `e = epsilon sigma_t^2 / sigma_{t_min}^2`.

    A step from level `t` to `s` updates at `s`; the first one updates at `t` before.
    """

    stays: ClassVar[bool] = True
    epsilon: float | Array
    steps: int = static()

    def prepare(self, sde: LinearSDE, times: Array | np.ndarray) -> AnnealedLangevin:
        with jax.ensure_compile_time_eval():  # also inside a compiled program that draws samples
            least = float(jnp.min(sde.variance(jnp.asarray(sde.t_min))))
        if doors.known(self.epsilon) and self.epsilon >= 2.0 * least:
            raise ValueError(
                f"annealed_langevin: at epsilon={self.epsilon} the updates diverge on this {type(sde).__name__}, whose "
                f"smallest noise is sigma={least**0.5:.4g}; take epsilon below 2 sigma^2 = {2.0 * least:.4g}"
            )
        return self

    def init(self, sde: LinearSDE, x: Array, times: Array) -> Array:
        """Return the number of updates still to be made at the level the step starts from."""
        return jnp.asarray(self.steps, jnp.int32)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Array) -> Step:
        def level(i: Array) -> tuple[Array, Array]:
            time = jnp.where(i < memory, t, s)
            # a process with its own sigma per mode steps with the root mean square, one number
            variance, last = jnp.mean(sde.variance(time)), jnp.mean(sde.variance(jnp.asarray(sde.t_min)))
            return time, self.epsilon * variance / last

        updates = memory + self.steps
        x = _updates(keys, score, x, updates, lambda i, gradient, noise: level(i)[1], lambda i: level(i)[0])
        return Step(x, jnp.zeros_like(memory), updates)


def langevin(snr: Positive = 0.16, steps: Count = 1, norm: Norm = "sample") -> Langevin:
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


def ald(snr: Positive = 0.16, steps: Count = 1) -> ALD:
    """Return the annealed Langevin corrector, step size proportional to `sigma_t^2` (Song & Ermon, arXiv 1907.05600).

    Args:
        snr: `r`; NCSN's `epsilon_0` is `2 (r sigma_min)^2`.
        steps: steps at each level.

    Raises:
        ValueError: unless `snr > 0` and `steps >= 1`.
    """
    _check(snr, steps)
    return ALD(snr, steps)


def annealed_langevin(epsilon: Positive = 2e-5, steps: Count = 100) -> AnnealedLangevin:
    """Return annealed Langevin dynamics as a sampler of its own (NCSN, arXiv 1907.05600, algorithm 1).

        x <- x + e_i score(x, t_i) + sqrt(2 e_i) z,   e_i = epsilon sigma_i^2 / sigma_min^2,   `steps` times a level

    The levels are the times of the grid, each visited once: for a chain `times.uniform(sde, sde.levels - 1)`. This
    is the convention of the published code and constants, and of NCSNv2's theory. Algorithm 1 as printed takes
    `x <- x + (alpha_i / 2) score + sqrt(alpha_i) z`, which is half the step: `epsilon / 2` here. NCSN starts from
    uniform noise (`x_init`), NCSNv2 ends with the posterior mean (`denoise=True`). On a grid that ends at `t_min`,
    `ald(snr, steps)` with `epsilon = 2 (snr sigma_min)^2` takes the same updates after each step of another method.

    Args:
        epsilon: step size at `sigma_min = sde.sigma(sde.t_min)`, in squared model units; from
            `ncsnv2_levels.step_size`, or published: 2e-5 with 100 steps (NCSN), 6.2e-6 with 5 (NCSNv2, CIFAR-10).
            Below `2 sigma_min^2`, or the dynamics diverge.
        steps: updates at each level.

    Raises:
        ValueError: unless `epsilon > 0` and `steps >= 1`; on preparation, unless `epsilon < 2 sigma_min^2`.
    """
    if steps < 1 or (doors.known(epsilon) and not epsilon > 0):
        raise ValueError(f"annealed_langevin needs epsilon > 0 and steps >= 1, got epsilon={epsilon}, steps={steps}")
    return AnnealedLangevin(epsilon, steps)


def _langevin(
    keys: Array,
    score: Score,
    x: Array,
    t: Array,
    steps: int,
    size: Callable[[Array, Array], Array | float],
    settled: Callable[[Array], Array] = lambda x: x,
) -> Step:
    """Make `steps` updates at one level."""
    x = _updates(keys, score, x, steps, lambda i, gradient, noise: size(gradient, noise), lambda i: t, settled)
    return Step(x, nfe=steps)


def _updates(
    keys: Array,
    score: Score,
    x: Array,
    updates: int | Array,
    size: Callable[[Array, Array, Array], Array | float],
    time: Callable[[Array], Array],
    settled: Callable[[Array], Array] = lambda x: x,
) -> Array:
    """Make Langevin updates in a loop, so that the program holds the network once however many there are."""

    def update(i: Array, x: Array) -> Array:
        gradient = score(x, time(i))
        noise = keys_lib.normal(keys_lib.fold_in(keys, i), x.shape, x.dtype)
        epsilon = jnp.asarray(size(i, gradient, noise))
        epsilon = per_batch(epsilon, epsilon, x.ndim)
        return settled(x + epsilon * gradient + jnp.sqrt(2.0 * epsilon) * noise).astype(x.dtype)

    return jax.lax.fori_loop(0, updates, update, x)


def _step_alpha(sde: SDE, s: Array, t: Array) -> Array | float:
    if not isinstance(sde, LinearSDE):
        return 1.0  # no signal that the noise could be compared with
    return jnp.mean(sde.transition(s, t)[0]) ** 2


def _norms(x: Array) -> Array:
    return jnp.linalg.norm(x.reshape(x.shape[0], -1), axis=1)


def _check(snr: float, steps: int) -> None:
    if steps < 1 or (doors.known(snr) and not snr > 0):
        raise ValueError(f"a Langevin method needs snr > 0 and steps >= 1, got snr={snr}, steps={steps}")
