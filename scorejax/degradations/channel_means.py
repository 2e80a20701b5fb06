"""The law of the mean color of an image: a mixture of Gaussians that is fitted to data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics.host_arrays import HostArrays
from scorejax.numerics.trees import register_dataclass

_ROUNDS, _FLOOR = 100, 1e-6  # rounds of the EM algorithm, and the least variance along any axis


@register_dataclass
@dataclass(frozen=True)
class ChannelMeans(HostArrays):
    """`sum_k weight_k N(mean_k, factor_k factor_k^T)`, a law of the means of the channels of an image.

    Attributes:
        weights: `[K]`, positive with the sum 1.
        means: `[K, C]`.
        factors: lower triangular, `[K, C, C]`.
    """

    weights: Array | np.ndarray
    means: Array | np.ndarray
    factors: Array | np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, components: int = 1, *, seed: int = 0) -> Self:
        """Return the law that is fitted to channel means `[N, C]` by the EM algorithm.

        Args:
            values: means of the channels of each image.
            components: how many Gaussians; 1 is exact.
            seed: of the examples that the components begin at.

        Raises:
            ValueError: fewer examples than two for each component, or another shape.
        """
        values = np.asarray(values, np.float64)
        if values.ndim != 2 or len(values) < 2 * components or components < 1:
            raise ValueError(f"{components} components need twice as many rows [N, C], got shape {values.shape}")
        channels = values.shape[1]
        spread = np.cov(values.T).reshape(channels, channels) + _FLOOR * np.eye(channels)
        means = values[np.random.default_rng(seed).choice(len(values), components, replace=False)]
        covariances, weights = np.stack([spread] * components), np.full(components, 1.0 / components)
        for _ in range(1 if components == 1 else _ROUNDS):
            centered = values[:, None, :] - means
            logs = np.log(weights) - 0.5 * np.linalg.slogdet(covariances)[1]
            logs = logs - 0.5 * np.einsum("nkc,kcd,nkd->nk", centered, np.linalg.inv(covariances), centered)
            share = np.exp(logs - logs.max(1, keepdims=True))
            share /= share.sum(1, keepdims=True)
            total = np.maximum(share.sum(0), _FLOOR)
            means = share.T @ values / total[:, None]
            centered = values[:, None, :] - means
            covariances = np.einsum("nk,nkc,nkd->kcd", share, centered, centered) / total[:, None, None]
            covariances = covariances + _FLOOR * np.eye(channels)
            weights = total / total.sum()
        return cls(weights, means, np.linalg.cholesky(covariances))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the law as named arrays of float32; `ChannelMeans(**arrays)` makes the law of them again."""
        return {name: np.asarray(getattr(self, name), np.float32) for name in ("weights", "means", "factors")}

    def sample(self, keys: Array) -> Array:
        """Draw channel means `[B, C]`, one for each key."""

        def one(key: Array) -> Array:
            which, noise = jax.random.split(key)
            k = jax.random.choice(which, self.weights.shape[0], p=jnp.asarray(self.weights, jnp.result_type(float)))
            z = jax.random.normal(noise, self.means.shape[1:])
            return jnp.asarray(self.means, z.dtype)[k] + jnp.asarray(self.factors, z.dtype)[k] @ z

        return jax.vmap(one)(keys)
