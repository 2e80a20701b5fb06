"""Priors of parameters, each with the map in which it is a standard normal law.

Of bounded parameters such a map leaves no point outside of the bounds, and of any of them it makes the law at every
level of noise known: `N(0, alpha_t^2 + sigma_t^2)`, which the composition of several observations needs.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import register_dataclass

_LEAST = 1e-7  # shares of a uniform law nearer to its ends are taken for this, in float32


class Prior(abc.ABC):
    """A law of independent parameters."""

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """How many parameters there are."""

    @abc.abstractmethod
    def to_normal(self, theta: Array) -> Array:
        """Return `y [B, D]`, standard normal for parameters `theta [B, D]` of this law."""

    @abc.abstractmethod
    def from_normal(self, y: Array) -> Array:
        """Return the parameters `[B, D]` of points `y`; the inverse of `to_normal`."""

    @abc.abstractmethod
    def log_slope(self, theta: Array) -> Array:
        """Return `sum log |dy / dtheta|` at parameters `[B, D]`, nats `[B]`; minus infinity outside of the support."""

    def sample(self, key: Array, n: int) -> Array:
        """Return `n` draws, `[n, D]`; the i-th from `fold_in(key, i)`."""
        return self.from_normal(keys_lib.normal(keys_lib.per_example(key, n), (n, self.dimension)))

    def log_prob(self, theta: Array) -> Array:
        """Return the log density at parameters `[B, D]`, in nats `[B]`."""
        found = jnp.sum(jax.scipy.stats.norm.logpdf(self.to_normal(theta)), axis=1) + self.log_slope(theta)
        return jnp.where(jnp.isnan(found), -jnp.inf, found)


@register_dataclass
@dataclass(frozen=True)
class Uniform(Prior):
    """Parameters between bounds `[D]`: `y = Phi^-1((theta - low) / (high - low))`."""

    low: Array
    high: Array

    @property
    def dimension(self) -> int:
        return len(self.low)

    def to_normal(self, theta: Array) -> Array:
        return jax.scipy.special.ndtri(jnp.clip(self._share(theta), _LEAST, 1.0 - _LEAST))

    def from_normal(self, y: Array) -> Array:
        return self.low + (self.high - self.low) * jax.scipy.special.ndtr(y)

    def log_slope(self, theta: Array) -> Array:
        each = -jnp.log(self.high - self.low) - jax.scipy.stats.norm.logpdf(self.to_normal(theta))
        share = self._share(theta)
        return jnp.sum(jnp.where((share >= 0) & (share <= 1), each, -jnp.inf), axis=1)

    def _share(self, theta: Array) -> Array:
        return (theta - self.low) / (self.high - self.low)


@register_dataclass
@dataclass(frozen=True)
class Normal(Prior):
    """Normal parameters, `y = (theta - mean) / std`; of the logarithm of parameters if `log`."""

    mean: Array
    std: Array
    log: Array

    @property
    def dimension(self) -> int:
        return len(self.mean)

    def to_normal(self, theta: Array) -> Array:
        return (jnp.where(self.log, jnp.log(jnp.where(self.log, theta, 1.0)), theta) - self.mean) / self.std

    def from_normal(self, y: Array) -> Array:
        z = self.mean + self.std * y
        return jnp.where(self.log, jnp.exp(jnp.where(self.log, z, 0.0)), z)

    def log_slope(self, theta: Array) -> Array:
        of_log = jnp.where(theta > 0, jnp.log(jnp.where(theta > 0, theta, 1.0)), jnp.inf)
        return jnp.sum(-jnp.log(self.std) - jnp.where(self.log, of_log, 0.0), axis=1)


def uniform(low: ArrayLike, high: ArrayLike) -> Uniform:
    """Return the law of parameters between bounds, numbers `[D]`.

    Raises:
        ValueError: unless they are as many, finite, and `low < high`.
    """
    bounds = _vectors("uniform", low=low, high=high)
    if not np.all(bounds[0] < bounds[1]):
        raise ValueError(f"uniform: low must lie below high, got low = {bounds[0]}, high = {bounds[1]}")
    return Uniform(*map(jnp.asarray, bounds))


def normal(mean: ArrayLike, std: ArrayLike) -> Normal:
    """Return the law of normal parameters with these means and standard deviations `[D]`.

    Raises:
        ValueError: unless they are as many, finite, and the deviations above zero.
    """
    return _normal("normal", mean, std, log=False)


def lognormal(mean: ArrayLike, std: ArrayLike) -> Normal:
    """Return the law of parameters whose logarithms have these means and standard deviations `[D]`.

    Raises:
        ValueError: as `normal`.
    """
    return _normal("lognormal", mean, std, log=True)


def _normal(name: str, mean: ArrayLike, std: ArrayLike, *, log: bool) -> Normal:
    means, deviations = _vectors(name, mean=mean, std=std)
    if not np.all(deviations > 0):
        raise ValueError(f"{name}: standard deviations must lie above zero, got std = {deviations}")
    return Normal(jnp.asarray(means), jnp.asarray(deviations), jnp.full(means.shape, log))


def _vectors(name: str, **given: ArrayLike) -> list[np.ndarray]:
    """The arrays as float32 of one length."""
    arrays = [np.atleast_1d(np.asarray(value, np.float32)) for value in given.values()]
    if any(a.ndim != 1 or a.shape != arrays[0].shape or not np.isfinite(a).all() for a in arrays):
        shown = ", ".join(f"{key} of shape {np.shape(value)}" for key, value in given.items())
        raise ValueError(f"{name}: wanted finite numbers [D], one for each parameter; got {shown}")
    return arrays
