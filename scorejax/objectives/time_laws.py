"""Laws of training times that are part of a recipe: a loss is not divided by their densities, which weigh the times.

The weight of a time in the loss is the product of `weighting` and of the density of the law. Each law is cut off at the
ends of the process by its inverse distribution function, so that no time is an atom of it.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import jax
import jax.numpy as jnp
from annotated_types import Interval
from jax import Array

from scorejax.numerics.ranges import Finite, Positive
from scorejax.sdes.corruption import SDE, check_kind
from scorejax.sdes.discrete import Chain
from scorejax.sdes.linear import LinearSDE

Tilt: TypeAlias = Annotated[float, Interval(ge=-1.0, le=2.0 / (math.pi - 2.0))]


class TimeLaw(abc.ABC):
    """A law of the times of a process."""

    def check(self, sde: SDE) -> LinearSDE:
        """Return the process.

        Raises:
            ValueError: the law is not one of its times.
        """
        found = check_kind(sde, LinearSDE, f"times by the law {type(self).__name__}")
        if isinstance(found, Chain):
            raise ValueError(
                f"the law {type(self).__name__} draws times between the levels, got a chain; choose uniform or "
                "stratified times, or a process in continuous time"
            )
        return found

    def within_1(self, sde: SDE) -> LinearSDE:
        """Return the process, for a law of times between 0 and 1.

        Raises:
            ValueError: its times are others.
        """
        found = TimeLaw.check(self, sde)
        if not 0.0 <= found.t_min < found.t_max <= 1.0:
            raise ValueError(
                f"the law {type(self).__name__} is of times between 0 and 1, got a process from {found.t_min} to "
                f"{found.t_max}; take lognormal, which is of the noise"
            )
        return found

    def times(self, sde: SDE, u: Array) -> Array:
        """Return the times at which the distribution function of the law between `t_min` and `t_max` is `u [n]`."""
        known = self.check(sde)
        return jnp.clip(self._times(known, u), known.t_min, known.t_max)

    @abc.abstractmethod
    def _times(self, sde: LinearSDE, u: Array) -> Array:
        """The same but for rounding."""


@dataclass(frozen=True)
class LogNormal(TimeLaw):
    """`log(sigma / alpha) ~ N(mean, std^2)`: the noise of EDM (Karras et al., arXiv 2206.00364, table 1).

    Attributes:
        mean: of the logarithm of the ratio of noise to signal; EDM takes -1.2 for images in [-1, 1].
        std: its standard deviation.
    """

    mean: Finite = -1.2
    std: Positive = 1.2

    def _times(self, sde: LinearSDE, u: Array) -> Array:
        ends = [-0.5 * sde.mean_log_snr(jnp.asarray(t, u.dtype)) for t in (sde.t_min, sde.t_max)]
        low, high = ((end - self.mean) / self.std for end in ends)
        log_ratio = self.mean + self.std * _normal_between(low, high, u)
        return sde.inverse_log_snr(-2.0 * log_ratio)


@dataclass(frozen=True)
class LogitNormal(TimeLaw):
    """`logit(t) ~ N(mean, std^2)` (Esser et al., arXiv 2403.03206): on the flow a log-normal ratio.

    Attributes:
        mean: above zero for noisier times.
        std: of the logit.
    """

    mean: Finite = 0.0
    std: Positive = 1.0

    def check(self, sde: SDE) -> LinearSDE:
        return self.within_1(sde)

    def _times(self, sde: LinearSDE, u: Array) -> Array:
        ends = [
            (jax.scipy.special.logit(jnp.asarray(t, u.dtype)) - self.mean) / self.std for t in (sde.t_min, sde.t_max)
        ]
        return jax.nn.sigmoid(self.mean + self.std * _normal_between(ends[0], ends[1], u))


@dataclass(frozen=True)
class Mode(TimeLaw):
    """`t = 1 - u - tilt (cos^2(pi u / 2) - 1 + u)`, `u` uniform (arXiv 2403.03206): a broad peak with heavy ends.

    Attributes:
        tilt: 0 is uniform; above zero for times in the middle, below for the ends.
    """

    tilt: Tilt = 1.29

    def check(self, sde: SDE) -> LinearSDE:
        return self.within_1(sde)

    def _times(self, sde: LinearSDE, u: Array) -> Array:
        last, first = self._at(sde.t_max), self._at(sde.t_min)
        v = last + u * (first - last)
        return 1.0 - v - self.tilt * (jnp.cos(0.5 * math.pi * v) ** 2 - 1.0 + v)

    def _at(self, t: float) -> float:
        """The `u` of a time, by bisection, as the function falls."""
        low, high = 0.0, 1.0
        for _ in range(60):
            u = 0.5 * (low + high)
            later = 1.0 - u - self.tilt * (math.cos(0.5 * math.pi * u) ** 2 - 1.0 + u) > t
            low, high = (u, high) if later else (low, u)
        return high


@dataclass(frozen=True)
class CosMap(TimeLaw):
    """`p(t) = 2 / (pi - 2 pi t + 2 pi t^2)` (arXiv 2403.03206): on the flow the log ratios of a cosine schedule."""

    def check(self, sde: SDE) -> LinearSDE:
        return self.within_1(sde)

    def _times(self, sde: LinearSDE, u: Array) -> Array:
        first, last = math.atan(2.0 * sde.t_min - 1.0), math.atan(2.0 * sde.t_max - 1.0)
        return 0.5 * (1.0 + jnp.tan(first + u * (last - first)))


def _normal_between(low: Array, high: Array, u: Array) -> Array:
    """Where the distribution function of a standard normal number between two ends is `u`."""
    # from the end that is nearer to the middle, where small shares have more digits
    flip = low > 0.0
    low, high = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
    shares = [jax.scipy.stats.norm.cdf(end) for end in (low, high)]
    within = jnp.where(flip, 1.0 - u, u)
    found = jnp.clip(jax.scipy.special.ndtri(shares[0] + within * (shares[1] - shares[0])), low, high)
    return jnp.where(flip, -found, found)
