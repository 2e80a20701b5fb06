"""Log-likelihoods `log p(y | x_0)` of a measurement as functions of the data: Gaussian and Poisson noise.

Any function `x0 [B, ...] -> [B]` of one's own is one too. Those here know in addition what becomes of them where the
data are uncertain, which `guidance.potential` asks for at high levels of noise.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln

from scorejax.guidance.operators import Operator
from scorejax.numerics import doors
from scorejax.numerics.trees import as_pytree, register_dataclass

Forward = Operator | Callable[[Array], Array]
"""An operator, or any function of a batch of data, linear or not, every example by itself."""


class Likelihood(abc.ABC):
    """A log-likelihood that knows what the uncertainty of its argument makes of it."""

    @abc.abstractmethod
    def __call__(self, x0: Array) -> Array:
        """Return `log p(y | x_0)` in nats, `[B]`, at data `x0 [B, ...]`."""

    @abc.abstractmethod
    def widened(self, x0: Array, variance: Array) -> Array:
        """Return about `log E p(y | x_0 + sqrt(variance) n)`, `[B]`, up to a constant.

        Args:
            x0: data, `[B, ...]`.
            variance: of what is measured of them, a scalar or `[B]`.
        """


@register_dataclass
@dataclass(frozen=True)
class Gaussian(Likelihood):
    """`y = A(x_0) + sigma_y n`."""

    operator: Forward
    y: Array
    sigma_y: float | Array

    def __call__(self, x0: Array) -> Array:
        return self.widened(x0, jnp.zeros(()))

    def widened(self, x0: Array, variance: Array) -> Array:
        total = jnp.broadcast_to(jnp.asarray(self.sigma_y) ** 2 + variance, x0.shape[:1])
        residual = self.residual(x0)
        count = float(np.prod(residual.shape[1:])) * jnp.ones(1)
        if isinstance(self.operator, Operator):  # entries that measure nothing do not count
            count = _rows(self.operator.clean(jnp.ones_like(residual[:1])))
        return -0.5 * (_rows(residual**2) / total + count * jnp.log(2.0 * np.pi * total))

    def residual(self, x0: Array) -> Array:
        """Return `y - A(x_0)`.

        Raises:
            ValueError: if y does not have the shape of what is measured.
        """
        return residual(self.y, measured(self.operator, x0))


@register_dataclass
@dataclass(frozen=True)
class Poisson(Likelihood):
    """Counts `y ~ Poisson(gain A(x_0))`."""

    operator: Forward
    y: Array
    gain: float | Array

    def __call__(self, x0: Array) -> Array:
        return _rows(self._each(x0))

    def widened(self, x0: Array, variance: Array) -> Array:
        # a count whose rate has the variance v has 1 + gain^2 v / rate times the variance of a Poisson law
        counts = jnp.maximum(self.y, 1.0)
        more = jnp.reshape(variance, (-1,) + (1,) * (counts.ndim - 1)) * jnp.asarray(self.gain) ** 2 / counts
        return _rows(self._each(x0) / (1.0 + more))

    def _each(self, x0: Array) -> Array:
        rate = measured(self.operator, x0)
        residual(self.y, rate)
        rate = self.gain * jnp.maximum(rate, _LEAST_RATE)
        return self.y * jnp.log(rate) - rate - gammaln(self.y + 1.0)


_LEAST_RATE = 1e-6


def gaussian(operator: Forward, y: Array, sigma_y: float | Array) -> Gaussian:
    """Return the log-likelihood of `y = A(x_0) + sigma_y n`, with its normalization.

        -|y - A(x_0)|^2 / (2 sigma_y^2) - M log(2 pi sigma_y^2) / 2

    Args:
        operator: an operator, or any function of a batch of data, linear or not.
        y: the measurement, `[B, ...]` or `[1, ...]`.
        sigma_y: standard deviation of its noise.

    Raises:
        ValueError: unless `sigma_y` is positive; when evaluated, if `y` does not have the shape of a measurement.
    """
    if isinstance(sigma_y, Real) and not sigma_y > 0:
        raise ValueError(f"likelihoods.gaussian: sigma_y must be positive, got {sigma_y}")
    return Gaussian(_held(operator), _measurement(operator, y), sigma_y)


def poisson(operator: Forward, y: Array, gain: float | Array = 1.0) -> Poisson:
    """Return the log-likelihood of counts `y ~ Poisson(gain A(x_0))`, with its normalization.

        sum y log(gain A(x_0)) - gain A(x_0) - log y!

    Args:
        operator: an operator, or any function of a batch of data; rates below 1e-6 count as 1e-6.
        y: the counts, `[B, ...]` or `[1, ...]`.
        gain: counts for each unit of the rate.

    Raises:
        ValueError: unless `gain` is positive; when evaluated, if `y` does not have the shape of a measurement.
    """
    if isinstance(gain, Real) and not gain > 0:
        raise ValueError(f"likelihoods.poisson: gain must be positive, got {gain}")
    return Poisson(_held(operator), _measurement(operator, y), gain)


def measured(operator: Forward, x0: Array) -> Array:
    """Return what is measured of the data, without noise."""
    return operator.forward(x0) if isinstance(operator, Operator) else operator(x0)


def residual(y: Array, prediction: Array) -> Array:
    """Return `y` minus what is predicted to be measured.

    Raises:
        ValueError: if y does not have that shape, or one row for all.
    """
    if y.shape[1:] != prediction.shape[1:] or y.shape[0] not in (1, prediction.shape[0]):
        raise ValueError(
            f"the measurement must have the shape {prediction.shape} of what is measured of the samples "
            f"(or one row for all), got {y.shape}"
        )
    return y - prediction


def cleaned(operator: Operator, y: Array) -> Array:
    """Return a measurement whose unmeasured part, which may hold anything, is gone."""
    y = operator.clean(doors.points(y, "y", finite=False))
    doors.check_finite(y, "y")
    return y


def _held(operator: Forward) -> Forward:
    return operator if isinstance(operator, Operator) else as_pytree(operator)


def _measurement(operator: Forward, y: Array) -> Array:
    return cleaned(operator, y) if isinstance(operator, Operator) else doors.points(y, "y")


def _rows(x: Array) -> Array:
    return jnp.sum(x.reshape(x.shape[0], -1), axis=1)
