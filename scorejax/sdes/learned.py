"""A process whose noise schedule `-log SNR = gamma(t)` is learned (variational diffusion models, arXiv 2107.00630)."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics.ranges import Finite, Natural
from scorejax.numerics.trees import register_dataclass, static
from scorejax.sdes.corruption import check_static
from scorejax.sdes.linear import LinearSDE


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Learned(LinearSDE):
    """Variance preserving with `-log SNR = gamma(t)`: `alpha^2 = sigmoid(-gamma)`, `sigma^2 = sigmoid(gamma)`.

    `gamma` rises from `gamma_min` to `gamma_max` on [0, 1] and has exactly these values at its ends for
    every shape between them. All leaves are real numbers, so that `jax.grad` by the process works, and an optimizer may
    step along it.

    Attributes:
        gamma_min: `gamma(0)`, next to the data.
        gamma_max: `gamma(1)`, at the prior.
        weights: `[H, 3]`: height, slope and place of every bend of the curve; `H = 0` is a straight line.
        label_range: the values of gamma that get the labels 0 and 999; fixed, unlike the ends.
    """

    gamma_min: Array
    gamma_max: Array
    weights: Array
    label_range: tuple[float, float] = static()

    def gamma(self, t: Array) -> Array:
        """Return `gamma(t) = -log SNR`, increasing."""
        low, high, here = (self._rise(jnp.asarray(u)) for u in (0.0, 1.0, t))
        return self.gamma_min + (self.gamma_max - self.gamma_min) * (here - low) / (high - low)

    def log_alpha(self, t: Array) -> Array:
        return 0.5 * jax.nn.log_sigmoid(-self.gamma(t))

    def variance(self, t: Array) -> Array:
        return jax.nn.sigmoid(self.gamma(t))

    def label(self, t: Array) -> Array:
        """Return the position of `gamma(t)` between the fixed values of `label_range`, times 999, at least 0.

        It follows the noise and not the time, so that a network does not notice when the curve changes.
        """
        low, high = self.label_range
        return 999.0 * jnp.maximum(self.gamma(t) - low, 0.0) / (high - low)

    def inverse_log_snr(self, log_snr: Array) -> Array:
        """Return the time by bisection, within [0, 1]; no gradient flows through it."""
        wanted = jax.lax.stop_gradient(-jnp.asarray(log_snr, jnp.result_type(float)))

        def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            below = self.gamma(middle) < wanted
            return jnp.where(below, middle, low), jnp.where(below, high, middle)

        # 50 halvings are float64's resolution, and cheap next to a network
        zero = jnp.zeros_like(wanted)
        low, high = jax.lax.fori_loop(0, 50, halve, (zero, zero + 1.0))
        return jax.lax.stop_gradient(0.5 * (low + high))

    def _rise(self, t: Array) -> Array:
        height, slope, place = jnp.moveaxis(jnp.asarray(self.weights, t.dtype), -1, 0)
        bends = jax.nn.softplus(height) * jax.nn.sigmoid(jax.nn.softplus(slope) * (t[..., None] - place))
        return t + jnp.sum(bends, axis=-1)


def learned(
    gamma_min: Finite = -13.3, gamma_max: Finite = 5.0, *, bends: Natural = 0, key: Array | None = None
) -> Learned:
    """Return a process with a learnable schedule, at first (nearly) linear in the log signal-to-noise ratio.

    Its labels go from 99.9 to 899.1 at first.

    Args:
        gamma_min: `-log SNR` next to the data.
        gamma_max: `-log SNR` at the prior.
        bends: number of smooth steps the curve may take; 0 learns the ends alone.
        key: draws where the bends start; evenly spaced if not given.

    Raises:
        ValueError: unless `gamma_min < gamma_max` and `bends >= 0`.
    """
    check_static("learned", gamma_min=gamma_min, gamma_max=gamma_max)
    if not (gamma_min < gamma_max and bends >= 0):
        raise ValueError(f"learned: need gamma_min < gamma_max and bends >= 0, got {gamma_min}, {gamma_max}, {bends}")
    with doors.evaluated(key):
        place = (jnp.arange(bends) + 0.5) / max(bends, 1) if key is None else jax.random.uniform(key, (bends,))
        weights = jnp.stack([jnp.full(bends, -3.0), jnp.full(bends, 5.0), place], axis=-1)
        ends = jnp.asarray(gamma_min, jnp.result_type(float)), jnp.asarray(gamma_max, jnp.result_type(float))
    room = (gamma_max - gamma_min) / 8.0  # for the ends to move: networks take no negative labels
    return Learned(
        gamma_min=ends[0],
        gamma_max=ends[1],
        weights=weights,
        label_range=(gamma_min - room, gamma_max + room),
        t_min=0.0,
        t_max=1.0,
    )
