"""Small worlds whose posteriors are known exactly: what a sampler of posteriors is judged by.

A world is a law of data, a measurement with noise, and what is exact of the posterior of every measurement: draws,
mean, standard deviations, and the shares of its modes. All of it works inside compiled programs and under `jax.vmap`.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.guidance import operators
from scorejax.guidance.operators import Operator
from scorejax.numerics.host_arrays import HostArrays
from scorejax.numerics.trees import register_dataclass
from scorejax.posterior.folded import Folded
from scorejax.posterior.folded import given as folded_given
from scorejax.posterior.levy import SEEN, STEPS, LevyWorld, Seen, Steps, covariance, noise_of, seen_by
from scorejax.scores import analytic
from scorejax.scores.analytic import Mixture


class Exact(NamedTuple):
    """What is exact of one posterior.

    Attributes:
        mean: `[D]`.
        std: standard deviation of every coordinate, `[D]`.
        shares: of the regions of the world, `[K]`.
    """

    mean: Array
    std: Array
    shares: Array


class World(HostArrays, abc.ABC):
    """A law of data `[D]` and a noisy measurement of it, whose posteriors are known.

    A subclass has the fields `law` and `sigma_y`.

    Attributes:
        law: the law of the data, a mixture.
        sigma_y: standard deviation of the noise of a measurement.
    """

    law: Mixture
    sigma_y: float | Array

    @abc.abstractmethod
    def measure(self, x: Array) -> Array:
        """Return the measurement without noise of points `x [B, D]`."""

    @abc.abstractmethod
    def posterior(self, y: Array) -> Mixture | Folded:
        """Return the law of the data given one measurement."""

    @abc.abstractmethod
    def regions(self, x: Array) -> Array:
        """Return how far points `x [B, D]` belong to each region whose share of a posterior is known, `[B, K]`."""

    @abc.abstractmethod
    def exact(self, y: Array) -> Exact:
        """Return the moments and the shares of the posterior given one measurement."""

    def simulate(self, key: Array) -> tuple[Array, Array]:
        """Draw one pair `(x [D], y [M])` of data and measurement."""
        x = self.law.sample(jax.random.fold_in(key, 0), 1)
        clean = self.measure(x)
        noise = jax.random.normal(jax.random.fold_in(key, 1), clean.shape, clean.dtype)
        return x[0], (clean + self.sigma_y * noise)[0]

    def log_likelihood(self, x: Array, y: Array) -> Array:
        """Return `log p(y | x)`, `[B]`, up to a constant, at points `x [B, D]`."""
        return -0.5 * jnp.sum(((y - self.measure(x)) / self.sigma_y) ** 2, axis=1)

    def log_joint(self, x: Array, y: Array) -> Array:
        """Return `log p(x, y)`, `[B]`, up to a constant: it orders points as the density of the posterior does."""
        return self.law.log_prob(x) + self.log_likelihood(x, y)

    def draw(self, key: Array, y: Array, n: int) -> Array:
        """Draw `n` points of the exact posterior given one measurement, `[n, D]`."""
        return self.posterior(y).sample(key, n)


@register_dataclass
@dataclass(frozen=True)
class LinearWorld(World):
    """A mixture of Gaussians and a linear measurement: the posterior is a mixture (`Mixture.given`).

    Its regions are the components of the data law.
    """

    law: Mixture
    operator: Operator
    sigma_y: float | Array

    def measure(self, x: Array) -> Array:
        return self.operator.forward(x)

    def posterior(self, y: Array) -> Mixture:
        return self.law.given(self.operator, y, self.sigma_y)

    def regions(self, x: Array) -> Array:
        return self.law.responsibilities(x)

    def exact(self, y: Array) -> Exact:
        law = self.posterior(y)
        return Exact(law.mean(), jnp.sqrt(jnp.diagonal(law.covariance())), jnp.exp(law.log_weights))


@register_dataclass
@dataclass(frozen=True)
class FoldedWorld(World):
    """A mixture of Gaussians along the axes, of which the absolute value of the first coordinate is measured.

    Its regions are the two signs of that coordinate.
    """

    law: Mixture
    sigma_y: float | Array

    def measure(self, x: Array) -> Array:
        return jnp.abs(x[:, :1])

    def posterior(self, y: Array) -> Folded:
        return folded_given(self.law, y, self.sigma_y)

    def regions(self, x: Array) -> Array:
        positive = (x[:, :1] > 0).astype(x.dtype)
        return jnp.concatenate([positive, 1.0 - positive], axis=1)

    def exact(self, y: Array) -> Exact:
        law = self.posterior(y)
        positive = law.positive()
        return Exact(law.mean(), law.std(), jnp.stack([positive, 1.0 - positive]))


def w1() -> LinearWorld:
    """Return a mixture of two Gaussians in the plane whose second coordinate is measured with noise 0.5.

    Posteriors have two modes in the first coordinate, whose shares a measurement decides.
    """
    return LinearWorld(_two_modes(), operators.dense(np.array([[0.0, 1.0]]), (2,)), 0.5)


def w2() -> LinearWorld:
    """Return four correlated Gaussians of 16 numbers, of which means of 8 pairs are measured with noise 0.2.

    `m_k[j] = 1.5 cos(2 pi k j / 16)`, `k = 1 .. 4`, and `C = 0.25 exp(-|i - j| / 4)`. Posteriors have one mode and
    correlated coordinates, half of whose directions a measurement does not see; the least mean squared error is 0.0522
    a coordinate.
    """
    j = np.arange(16)
    means = 1.5 * np.cos(2.0 * np.pi * np.arange(1, 5)[:, None] * j / 16)
    covariance = 0.25 * np.exp(-np.abs(j[:, None] - j) / 4.0)
    law = analytic.mixture(np.ones(4), means, covariances=np.broadcast_to(covariance, (4, 16, 16)))
    return LinearWorld(law, operators.dense(np.kron(np.eye(8), [[0.5, 0.5]]), (16,)), 0.2)


def w3() -> FoldedWorld:
    """Return the mixture of `w1`, of which `|x_1|` is measured with noise 0.2: a nonlinear measurement.

    Posteriors have a mode for each sign of the first coordinate. Given the measurement, that sign is all that decides
    their shares.
    """
    return FoldedWorld(_two_modes(), 0.2)


def levy(steps: Steps = "gaussian", operator: Seen = "identity", *, degrees: float = 1.0) -> LinearWorld | LevyWorld:
    """Return random walks of 64 places with independent steps, of which a linear function is measured.

    The noise is 25 dB below the measurements. Posteriors of Gaussian steps are Gaussian; those of others are drawn from
    by Gibbs sampling, whose draws are all that is known of them.

    Args:
        steps: `gaussian` of variance 1/4, `laplace` of scale 1, `student`, or `bernoulli_laplace`, of which one in ten
            is not zero.
        operator: `identity`, `blur`, `sampling` or `fourier`.
        degrees: of freedom of Student's law: 1 is Cauchy's.

    Raises:
        ValueError: on an unknown name, or degrees that are not positive.
    """
    for what, value, choices in (("steps", steps, STEPS), ("operator", operator, SEEN)):
        if value not in choices:
            raise ValueError(f"worlds.levy: unknown {what} {value!r}; choose one of {', '.join(choices)}")
    if not degrees > 0:
        raise ValueError(f"worlds.levy: degrees must be positive, got {degrees}")
    seen = seen_by(operator)
    walk = LevyWorld(seen, 1.0, degrees=degrees, steps=steps)
    sigma_y = noise_of(walk)
    if steps == "gaussian":
        return LinearWorld(analytic.gaussian(np.zeros(len(covariance())), covariance()), seen, sigma_y)
    return replace(walk, sigma_y=sigma_y)


def _two_modes() -> Mixture:
    return analytic.mixture([0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], [0.3, 0.5])
