"""Data laws whose score and density are known exactly at every time: mixtures of Gaussians, random
fields, and any law of one number on a grid.

Under `x_t = alpha x_0 + sigma z` a component `N(m, C)` becomes `N(alpha m, alpha^2 C + sigma^2)`. Under any other
diffusion a law of one coordinate is solved for by `on_grid`.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from scorejax.scores import conditioning
from scorejax.scores.grid_law import GridLaw as GridLaw
from scorejax.scores.grid_law import on_grid as on_grid
from scorejax.scores.predictions import Score, tweedie
from scorejax.scores.random_field import RandomField as RandomField
from scorejax.scores.random_field import random_field as random_field
from scorejax.sdes.corruption import check_kind, per_batch
from scorejax.sdes.linear import LinearSDE

ArrayLike = Array | np.ndarray | Sequence


@register_dataclass
@dataclass(frozen=True)
class Mixture:
    """A mixture of K Gaussians on `R^D`, each covariance held by its eigenvectors and eigenvalues.

    Under a process it stays a mixture: component k becomes `N(alpha m_k, alpha^2 C_k + sigma^2)`.

    Attributes:
        log_weights: `[K]`, normalized.
        means: `[K, D]`.
        axes: eigenvectors as columns, `[K, D, D]`.
        variances: eigenvalues, `[K, D]`.
    """

    log_weights: Array | np.ndarray = host_array()
    means: Array | np.ndarray = host_array()
    axes: Array | np.ndarray = host_array()
    variances: Array | np.ndarray = host_array()

    def sample(self, key: Array, n: int) -> Array:
        """Draw `n` points, `[n, D]`."""
        keys = keys_lib.per_example(key, n)
        which = jax.vmap(lambda k: jax.random.categorical(jax.random.fold_in(k, 0), self.log_weights))(keys)
        noise = keys_lib.normal(keys_lib.fold_in(keys, 1), (n, self.means.shape[1]))
        axes, spread = jnp.asarray(self.axes)[which], jnp.sqrt(jnp.asarray(self.variances))[which]
        return jnp.asarray(self.means)[which] + jnp.einsum("nij,nj->ni", axes, spread * noise)

    def mean(self) -> Array:
        """Return the mean of the law, `[D]`."""
        return jnp.exp(self.log_weights) @ self.means

    def covariance(self) -> Array:
        """Return the covariance of the law, `[D, D]`."""
        centered = jnp.asarray(self.means) - self.mean()
        inner = jnp.einsum("kij,kj,klj->kil", self.axes, self.variances, self.axes)
        return jnp.einsum("k,kij->ij", jnp.exp(self.log_weights), inner + centered[:, :, None] * centered[:, None, :])

    def log_prob(self, x: Array) -> Array:
        """Return the log density `[B]` of the data law at `x [B, D]`, in nats."""
        x = self._points(x)
        ones = jnp.ones(x.shape[0], x.dtype)
        logits, _ = self._components(x, ones, 0.0 * ones)
        return jax.nn.logsumexp(logits, axis=1)

    def log_prob_at(self, sde: LinearSDE, x: Array, t: Array) -> Array:
        """Return `log p_t(x)`, `[B]`, the log density of the diffused law at time `t` (a scalar or `[B]`).

        From the data, `t = 0`, on.

        Raises:
            ValueError: on points of another size, or times outside the process's, or neither a scalar nor one per
                example.
        """
        logits, _ = self._diffused(sde, x, t)
        return jax.nn.logsumexp(logits, axis=1)

    def score_at(self, sde: LinearSDE, x: Array, t: Array) -> Array:
        """Return `grad log p_t(x)`, shaped like `x`; times as in `log_prob_at`."""
        logits, scores = self._diffused(sde, x, t)
        return jnp.einsum("bk,bkd->bd", jax.nn.softmax(logits, axis=1), scores)

    def posterior_mean(self, sde: LinearSDE, x: Array, t: Array) -> Array:
        """Return `E[x_0 | x_t = x]`, shaped like `x`."""
        return tweedie(sde, x, t, self.score_at(sde, x, t))

    def responsibilities(self, x: Array) -> Array:
        """Return the probabilities `[B, K]` of the components that a point `x [B, D]` may come from."""
        x = self._points(x)
        ones = jnp.ones(x.shape[0], x.dtype)
        return jax.nn.softmax(self._components(x, ones, 0.0 * ones)[0], axis=1)

    def measured(self, operator: conditioning.Measures, sigma_y: float | Array) -> Mixture:
        """Return the law of a measurement `y = A x + sigma_y n`; its density at `y` is the evidence `p(y)`.

        Args:
            operator: the measurement `A` of points `[B, D]`, from `scorejax.guidance.operators`.
            sigma_y: standard deviation of its noise.
        """
        return Mixture(*conditioning.measured(self._parts(), operator, sigma_y))

    def given(self, operator: conditioning.Measures, y: Array | np.ndarray, sigma_y: float | Array) -> Mixture:
        """Return the law of `x` given one measurement `y = A x + sigma_y n`: the exact posterior, a mixture again.

            w_k' ~ w_k N(y; A m_k, S_k),   m_k' = m_k + K_k (y - A m_k),   C_k' = C_k - K_k A C_k,
            S_k = A C_k A^T + sigma_y^2,   K_k = C_k A^T S_k^{-1}

        Several measurements at once are a `jax.vmap` of it.

        Args:
            operator: the measurement `A` of points `[B, D]`, from `scorejax.guidance.operators`.
            y: one measurement, as the operator returns it, with an axis of one row or without.
            sigma_y: standard deviation of its noise; 0 where `A C_k A^T` can be inverted.

        Raises:
            ValueError: on several measurements, or one of another shape.
        """
        return Mixture(*conditioning.given(self._parts(), operator, y, sigma_y))

    def score(self, sde: LinearSDE) -> Score:
        """Return the exact score of this law under a process, for every sampler and likelihood."""
        check_kind(sde, LinearSDE, "a mixture of Gaussians under a process")
        return Partial(_mixture_score, self, sde)

    def _parts(self) -> conditioning.Parts:
        return conditioning.Parts(self.log_weights, self.means, self.axes, self.variances)

    def _points(self, x: Array) -> Array:
        return doors.points(x, shape=(*np.shape(x)[:1], self.means.shape[1]), finite=False)

    def _diffused(self, sde: LinearSDE, x: Array, t: Array) -> tuple[Array, Array]:
        """Return component log joint densities `[B, K]` and component scores `[B, K, D]` at time `t`."""
        check_kind(sde, LinearSDE, "a mixture of Gaussians under a process")
        x = self._points(x)
        doors.times(t, 0.0, sde.t_max, of=x.shape)
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:1])
        alpha, variance = sde.alpha(t), sde.variance(t)
        if alpha.ndim == 1 and variance.ndim == 1:
            return self._components(x, alpha, variance)
        return self._components_per_mode(sde, x, alpha, variance)

    def _components(self, x: Array, alpha: Array, variance: Array) -> tuple[Array, Array]:
        axes = self.axes  # looked at once: every look is another constant of a program that closes over the law
        offset = x[:, None, :] - alpha[:, None, None] * self.means
        modes = jnp.einsum("kij,bki->bkj", axes, offset)
        spread = alpha[:, None, None] ** 2 * self.variances + variance[:, None, None]
        scores = -jnp.einsum("kij,bkj->bki", axes, modes / spread)
        return self._joint(jnp.sum(modes**2 / spread, -1), jnp.sum(jnp.log(spread), -1)), scores

    def _components_per_mode(self, sde: LinearSDE, x: Array, alpha: Array, variance: Array) -> tuple[Array, Array]:
        """Return the same where every mode of a basis has its own coefficients: dense covariances."""
        dim = x.shape[1]
        alpha, variance = (jnp.broadcast_to(per_batch(c, x[:, 0], 2), x.shape) for c in (alpha, variance))
        means = jax.vmap(sde.basis.to_modes)(jnp.asarray(self.means)[:, None])[:, 0]
        axes = jax.vmap(lambda a: sde.basis.to_modes(a.T).T)(jnp.asarray(self.axes))
        data = jnp.einsum("kij,kj,klj->kil", axes, self.variances, axes)
        offset = sde.basis.to_modes(x)[:, None, :] - alpha[:, None, :] * means
        dense = alpha[:, None, :, None] * data * alpha[:, None, None, :] + variance[:, None, None, :] * jnp.eye(dim)
        solved = jnp.linalg.solve(dense, offset[..., None])[..., 0]
        logits = self._joint(jnp.sum(offset * solved, -1), jnp.linalg.slogdet(dense)[1])
        back = sde.basis.from_modes(-solved.reshape(-1, dim)).reshape(solved.shape)
        return logits, back

    def _joint(self, squared_distance: Array, log_determinant: Array) -> Array:
        constant = self.means.shape[1] * np.log(2.0 * np.pi)
        return self.log_weights - 0.5 * (squared_distance + log_determinant + constant)


def gaussian(mean: ArrayLike, covariance: ArrayLike) -> Mixture:
    """Return the Gaussian law `N(mean, covariance)` with exact score and density under every process.

    Args:
        mean: `[D]`.
        covariance: `[D, D]`, symmetric positive semi-definite, or its diagonal `[D]`.

    Raises:
        ValueError: on shapes that do not fit or a covariance that is not symmetric positive semi-definite.
    """
    return mixture([1.0], np.asarray(mean, float)[None], covariances=np.asarray(covariance, float)[None])


def mixture(
    weights: ArrayLike,
    means: ArrayLike,
    stds: ArrayLike | None = None,
    *,
    covariances: ArrayLike | None = None,
) -> Mixture:
    """Return a Gaussian mixture with exact score and density under every process.

    Args:
        weights: `[K]`, positive; normalized to sum to one.
        means: `[K, D]`.
        stds: standard deviations, `[K]` (round components) or `[K, D]`; or give `covariances`.
        covariances: `[K, D, D]`, or diagonals `[K, D]`.

    Raises:
        ValueError: on shapes that do not fit, weights that are not positive, or a covariance that is not symmetric
            positive semi-definite.
    """
    weights, means = np.asarray(weights, np.float64), np.asarray(means, np.float64)
    if weights.ndim != 1 or means.ndim != 2 or means.shape[0] != weights.shape[0]:
        raise ValueError(f"mixture: need weights [K] and means [K, D], got {weights.shape} and {means.shape}")
    if not np.all(weights > 0):
        raise ValueError(f"mixture: weights must be positive, got {weights}")
    if (stds is None) == (covariances is None):
        raise ValueError("mixture: give exactly one of stds [K] or [K, D] and covariances [K, D, D] or [K, D]")
    k, dim = means.shape
    if stds is not None:
        stds = np.asarray(stds, np.float64)
        if stds.shape not in ((k,), (k, dim)):
            raise ValueError(f"mixture: stds must be [{k}] or [{k}, {dim}], got {stds.shape}")
        covariances = np.broadcast_to((stds[:, None] if stds.ndim == 1 else stds) ** 2, (k, dim))
    axes, variances = _eigen(np.asarray(covariances, np.float64), k, dim)
    return Mixture(np.log(weights / weights.sum()), means, axes, variances)


def _mixture_score(law: Mixture, sde: LinearSDE, x: Array, t: Array) -> Array:
    return law.score_at(sde, x, t)


def _eigen(covariances: np.ndarray, k: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    if covariances.shape == (k, dim):
        axes, variances = np.broadcast_to(np.eye(dim), (k, dim, dim)), covariances
    elif covariances.shape == (k, dim, dim) and np.allclose(covariances, covariances.swapaxes(1, 2)):
        variances, axes = np.linalg.eigh(covariances)
    else:
        raise ValueError(
            f"mixture: covariances must be symmetric [{k}, {dim}, {dim}] or [{k}, {dim}], got {covariances.shape}"
        )
    if variances.min() < -1e-9 * max(variances.max(), 1e-300):
        raise ValueError(f"mixture: a covariance has the negative eigenvalue {variances.min():.3g}")
    return axes, np.maximum(variances, 0.0)
