"""The posterior of a mixture of Gaussians given the noisy absolute value of its first coordinate, in closed form.

Where `x_1` has the sign e, a component `N(m, s^2)` of `x_1` and `y = |x_1| + sigma n` give the Gaussian
`N(mu, tau^2)` of a linear measurement of `e x_1`, cut off at zero:

    weight ~ w N(e y; m, s^2 + sigma^2) Phi(e mu / tau),   1 / tau^2 = 1 / s^2 + 1 / sigma^2,
    mu = tau^2 (m / s^2 + e y / sigma^2)
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm

from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import register_dataclass
from scorejax.scores.analytic import Mixture

_FIRST, _OTHERS = 1, 2  # streams of a point's key, next to that of its component


@register_dataclass
@dataclass(frozen=True)
class Folded:
    """A mixture of `2 K` components, a normal law cut off at zero in the first coordinate, normal in the others.

    Attributes:
        log_weights: `[2 K]`, normalized.
        signs: of the first coordinate, `[2 K]`.
        center: `mu` of the first coordinate, before it is cut off, `[2 K]`.
        width: its `tau`, `[2 K]`.
        means: of the other coordinates, `[2 K, D - 1]`.
        stds: theirs, `[2 K, D - 1]`.
    """

    log_weights: Array
    signs: Array
    center: Array
    width: Array
    means: Array
    stds: Array

    def sample(self, key: Array, n: int) -> Array:
        """Draw `n` points, `[n, D]`."""
        keys = keys_lib.per_example(key, n)
        which = jax.vmap(lambda k: jax.random.categorical(jax.random.fold_in(k, 0), self.log_weights))(keys)
        sign, center, width = self.signs[which], self.center[which], self.width[which]
        # in units of the width and with the sign turned to plus, it lies above `low`
        low = -sign * center / width
        cut = jax.vmap(lambda k, low: jax.random.truncated_normal(k, low, jnp.inf))(keys_lib.fold_in(keys, _FIRST), low)
        first = center + sign * width * cut
        noise = keys_lib.normal(keys_lib.fold_in(keys, _OTHERS), (n, self.means.shape[1]))
        return jnp.concatenate([first[:, None], self.means[which] + self.stds[which] * noise], axis=1)

    def positive(self) -> Array:
        """Return the probability that the first coordinate is positive."""
        return jnp.sum(jnp.where(self.signs > 0, jnp.exp(self.log_weights), 0.0))

    def mean(self) -> Array:
        """Return the mean of the law, `[D]`."""
        return self._moments()[0]

    def std(self) -> Array:
        """Return the standard deviation of every coordinate, `[D]`."""
        mean, square = self._moments()
        return jnp.sqrt(square - mean**2)

    def _moments(self) -> tuple[Array, Array]:
        """Return the means of the coordinates and of their squares."""
        z = self.signs * self.center / self.width
        hazard = jnp.exp(norm.logpdf(z) - norm.logcdf(z))
        first = self.center + self.signs * self.width * hazard
        variance = self.width**2 * (1.0 - z * hazard - hazard**2)
        means = jnp.concatenate([first[:, None], self.means], axis=1)
        squares = jnp.concatenate([(variance + first**2)[:, None], self.means**2 + self.stds**2], axis=1)
        weights = jnp.exp(self.log_weights)
        return weights @ means, weights @ squares


def given(law: Mixture, y: Array, sigma_y: float | Array) -> Folded:
    """Return the law of `x` given one measurement `y = |x_1| + sigma_y n`.

    Args:
        law: of the data, with covariances along the axes, as `mixture(weights, means, stds)` has them.
        y: the measurement, one number.
        sigma_y: standard deviation of its noise.
    """
    means = jnp.asarray(law.means, jnp.result_type(float))
    variances = jnp.einsum("kij,kj->ki", jnp.asarray(law.axes, means.dtype) ** 2, jnp.asarray(law.variances))
    signs = jnp.repeat(jnp.array([1.0, -1.0], means.dtype), len(means))
    means, variances = jnp.concatenate([means, means]), jnp.concatenate([variances, variances])
    m, v, at, noise = means[:, 0], variances[:, 0], signs * jnp.reshape(y, ()), jnp.asarray(sigma_y) ** 2
    tau2 = 1.0 / (1.0 / v + 1.0 / noise)
    mu = tau2 * (m / v + at / noise)
    logits = jnp.concatenate([jnp.asarray(law.log_weights)] * 2) + norm.logpdf(at, m, jnp.sqrt(v + noise))
    logits = logits + norm.logcdf(signs * mu / jnp.sqrt(tau2))
    log_weights = jax.nn.log_softmax(logits)
    return Folded(log_weights, signs, mu, jnp.sqrt(tau2), means[:, 1:], jnp.sqrt(variances[:, 1:]))
