"""Gaussian random fields on a periodic grid, in one to three dimensions, with exact score and density.

    x = ifft( sqrt(lam_k) fft(white noise) ),   lam_k proportional to (1 + (|k| / k_0)^2)^(-power / 2), of mean 1

Every wave is a mode of its own: under a process its variance is `alpha^2 lam_k + sigma^2`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.host_arrays import host_array
from scorejax.numerics.trees import register_dataclass
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import check_kind, check_static
from scorejax.sdes.linear import LinearSDE


@register_dataclass
@dataclass(frozen=True)
class RandomField:
    """A stationary Gaussian law of examples `[*sides, 1]` around a circle in every direction.

    Attributes:
        spectrum: variance of every wave, `[*sides]`, in the order of `fftn`; its mean is the variance of a value.
    """

    spectrum: Array | np.ndarray = host_array()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, `(*sides, 1)`."""
        return (*self.spectrum.shape, 1)

    def sample(self, key: Array, n: int) -> Array:
        """Draw `n` fields, `[n, *sides, 1]`."""
        noise = keys_lib.normal(keys_lib.per_example(key, n), (n, *self.shape))
        return self._filtered(noise, jnp.sqrt(jnp.asarray(self.spectrum, noise.dtype)))

    def log_prob(self, x: Array) -> Array:
        """Return the log density `[B]` of fields `[B, *sides, 1]`, in nats."""
        x = self._fields(x)
        return self._log_prob(x, jnp.asarray(self.spectrum, x.dtype))

    def log_prob_at(self, sde: LinearSDE, x: Array, t: float) -> Array:
        """Return `log p_t(x)`, `[B]`, the log density of the fields of time `t`, a number."""
        x = self._fields(x)
        return self._log_prob(x, self._variance(sde, x, jnp.asarray(t, x.dtype)))

    def score_at(self, sde: LinearSDE, x: Array, t: Array) -> Array:
        """Return `grad log p_t(x)`, shaped like `x`; the time is a number or `[B]`."""
        x = self._fields(x)
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:1])
        return -self._filtered(x, 1.0 / jax.vmap(lambda one: self._variance(sde, x, one))(t))

    def score(self, sde: LinearSDE) -> Score:
        """Return the exact score of this law under a process, for every sampler and likelihood."""
        if check_kind(sde, LinearSDE, "a random field under a process").by_modes:
            raise ValueError(
                f"a random field has an exact score under processes with one signal-to-noise ratio, got "
                f"{type(sde).__name__}, which has one for every mode; take for instance sj.vp()."
            )
        return Partial(_score, self, sde)

    def entropy(self) -> float:
        """Return the differential entropy of a field in nats: `sum log(2 pi e lam) / 2`."""
        return float(0.5 * np.sum(np.log(2.0 * math.pi * math.e * np.asarray(self.spectrum, np.float64))))

    def _fields(self, x: Array) -> Array:
        return doors.points(x, shape=(*np.shape(x)[:1], *self.shape), finite=False)

    def _variance(self, sde: LinearSDE, x: Array, t: Array) -> Array:
        """The variance of every wave at a time, `[*sides]`."""
        return sde.alpha(t) ** 2 * jnp.asarray(self.spectrum, x.dtype) + sde.variance(t)

    def _waves(self, x: Array) -> Array:
        return jnp.fft.fftn(x[..., 0], axes=range(1, x.ndim - 1), norm="ortho")

    def _filtered(self, x: Array, gain: Array) -> Array:
        """Multiply every wave by a gain, `[*sides]` or `[B, *sides]`."""
        waves = self._waves(x) * gain
        return jnp.fft.ifftn(waves, axes=range(1, x.ndim - 1), norm="ortho").real[..., None].astype(x.dtype)

    def _log_prob(self, x: Array, variance: Array) -> Array:
        power = jnp.square(jnp.abs(self._waves(x))) / variance
        constant = jnp.sum(jnp.log(2.0 * math.pi * variance))
        return -0.5 * (jnp.sum(power.reshape(len(x), -1), axis=1) + constant)


def random_field(side: int = 64, dimensions: int = 1, *, power: float = 2.0, scale: float = 2.0) -> RandomField:
    """Return the Gaussian law of fields whose spectrum falls as a power of the wave number.

    `lam_k = c (1 + (|k| / scale)^2)^(-power / 2)` with waves `k` counted over the side, and `c` such that a value has
    the variance 1.

    Args:
        side: of the grid, the same in every direction.
        dimensions: of space, 1 to 3.
        power: how fast the spectrum falls: 0 is white noise.
        scale: waves over a side up to which the spectrum is flat, above zero.

    Raises:
        ValueError: a number outside its range.
    """
    check_static("random_field", side=side, dimensions=dimensions, power=power, scale=scale)
    if side < 1 or dimensions not in (1, 2, 3) or not scale > 0.0:
        raise ValueError(
            f"random_field: need a side of at least 1, 1 to 3 dimensions and a scale above zero, got side={side}, "
            f"dimensions={dimensions}, scale={scale}"
        )
    waves = np.meshgrid(*[np.fft.fftfreq(side, 1.0 / side)] * dimensions, indexing="ij")
    spectrum = (1.0 + sum(np.square(k) for k in waves) / scale**2) ** (-0.5 * power)
    return RandomField(spectrum / spectrum.mean())


def _score(law: RandomField, sde: LinearSDE, x: Array, t: Array) -> Array:
    return law.score_at(sde, x, t)
