"""A Gaussian fitted to the data, whose exact trace takes most of the variance out of an estimated one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics.host_arrays import host_array
from scorejax.numerics.trees import register_dataclass


@register_dataclass
@dataclass(frozen=True)
class GaussianFit:
    """The mean and covariance of data, as a control variate of `log_prob`.

    The score of a diffused Gaussian has the Jacobian `J_G = -(alpha^2 C + sigma^2)^{-1}`, so

        tr J = tr J_G + E v^T (J - J_G) v

    for probes `v` of identity covariance: the expectation is unchanged, and what is left to estimate is only how far
    the score is from that of the fit. It vanishes for Gaussian data. It costs `D^2` numbers a product and no
    evaluation of a network.

    Attributes:
        mean: `[D]`, of flattened points.
        axes: eigenvectors of the covariance as columns, `[D, D]`.
        variances: its eigenvalues, `[D]`.
    """

    mean: Array | np.ndarray = host_array()
    axes: Array | np.ndarray = host_array()
    variances: Array | np.ndarray = host_array()

    @classmethod
    def of_moments(cls, mean: Array | np.ndarray, covariance: Array | np.ndarray) -> GaussianFit:
        """Return the fit of a mean `[D]` and a covariance `[D, D]`.

        Raises:
            ValueError: on other shapes, or numbers that are not finite.
        """
        mean, covariance = np.asarray(mean, np.float64).reshape(-1), np.asarray(covariance, np.float64)
        if covariance.shape != (mean.size, mean.size):
            raise ValueError(f"a mean of {mean.size} numbers needs a covariance of {(mean.size,) * 2}, got "
                             f"{covariance.shape}")  # fmt: skip
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("the moments of a Gaussian must be finite numbers; got some that are not")
        variances, axes = np.linalg.eigh(covariance)
        variances = np.maximum(variances, 0.0)
        return cls(mean.astype(np.float32), axes.astype(np.float32), variances.astype(np.float32))

    @classmethod
    def of_data(cls, x: Array | np.ndarray) -> GaussianFit:
        """Return the fit of data `[N, ...]` in model units, of at least two examples."""
        flat = np.asarray(x, np.float64).reshape(len(x), -1)
        if len(flat) < 2:
            raise ValueError(f"a covariance needs at least two examples, got {len(flat)}")
        return cls.of_moments(flat.mean(axis=0), np.cov(flat, rowvar=False).reshape(flat.shape[1], -1))

    def trace(self, alpha: Array, variance: Array) -> Array:
        """Return `tr J_G` under `x_t = alpha x_0 + sigma z`, one number; both are numbers."""
        return -jnp.sum(1.0 / (alpha**2 * self.variances + variance))

    def quadratic(self, alpha: Array, variance: Array, vectors: Array) -> Array:
        """Return `v^T J_G v` of vectors `[B, k, ...]`, `[B, k]`."""
        modes = vectors.reshape(*vectors.shape[:2], -1) @ jnp.asarray(self.axes, vectors.dtype)
        return -(modes**2) @ (1.0 / (alpha**2 * self.variances + variance)).astype(vectors.dtype)

    def prior_mismatch(self, alpha: Array, variance: Array) -> Array:
        """Return `KL(N(alpha m, alpha^2 C + sigma^2) || N(0, sigma^2))` in nats, one number.

        By how much, on average over the data, a likelihood is off whose latents have the prior `N(0, sigma^2)`.
        """
        ratio = alpha**2 * jnp.asarray(self.variances) / variance
        return 0.5 * (jnp.sum(ratio - jnp.log1p(ratio)) + jnp.sum((alpha * jnp.asarray(self.mean)) ** 2) / variance)

    def dimension(self) -> int:
        """Return the number of numbers of a point."""
        return math.prod(np.shape(self.mean))
