"""Scores of laws that can be drawn from but not evaluated, estimated from samples, and what such a score is for.

Where `x = g(noise)` has no density that could be differentiated, `grad log q` is estimated: from samples by Stein's
identity (`stein`) or by the eigenfunctions of a kernel (`spectral`), both in closed form, or by a network that is
trained by sliced score matching. With any of them `entropy_surrogate` has the gradient of minus the entropy of `q`.

Both estimators know the samples through one kernel, `k(x, y) = exp(-|x - y|^2 / (2 w^2))`, whose width `w` is the
median distance of two samples, found to within a millionth of the largest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from scorejax.numerics import doors
from scorejax.numerics.trees import register_dataclass


@register_dataclass
@dataclass(frozen=True)
class SteinScore:
    """The estimate of `stein` as a function of points; a pytree.

    Attributes:
        samples: `[M, ...]`.
        width: of the kernel.
        ridge: added to the diagonal of the kernel matrix `K`.
        factor: Cholesky factor of `K + ridge I`, `[M, M]`.
        repulsion: `sum_j grad_{x_j} k(x_i, x_j)`, `[M, D]`.
    """

    samples: Array
    width: Array
    ridge: Array
    factor: Array
    repulsion: Array

    @property
    def at_samples(self) -> Array:
        """The score at the samples themselves, of their shape; no kernel is computed again."""
        return -self._solve(self.repulsion).reshape(self.samples.shape)

    def __call__(self, x: Array) -> Array:
        """Return the score at other points `x [B, ...]`, each as if it were one more sample."""
        points, samples = _centered(x, self.samples)
        kernel = _kernel(points, samples, self.width)
        solved = self._solve(kernel.T).T
        # The last row of the inverse of the larger matrix; the samples are repelled by the new point, too.
        schur = 1.0 + self.ridge - jnp.sum(kernel * solved, axis=1)
        own = _repulsion(kernel * (1.0 + solved), points, samples, self.width)
        return ((solved @ self.repulsion - own) / schur[:, None]).reshape(x.shape)

    def _solve(self, right: Array) -> Array:
        return jax.scipy.linalg.cho_solve((self.factor, True), right)


@register_dataclass
@dataclass(frozen=True)
class SpectralScore:
    """The estimate of `spectral` as a function of points; a pytree.

    Attributes:
        samples: `[M, ...]`.
        width: of the kernel.
        weights: `[M, D]`; the score at `x` is `sum_i k(x, x_i) weights_i`.
        kept: how many eigenfunctions it is made of.
    """

    samples: Array
    width: Array
    weights: Array
    kept: Array

    @property
    def at_samples(self) -> Array:
        """The score at the samples themselves, of their shape."""
        return self(self.samples)

    def __call__(self, x: Array) -> Array:
        """Return the score at points `x [B, ...]`."""
        return (_kernel(*_centered(x, self.samples), self.width) @ self.weights).reshape(x.shape)


def stein(samples: Array, *, ridge: float = 1e-3, bandwidth: float | Array | None = None) -> SteinScore:
    """Return the score of the law of samples, by Stein's identity (Li and Turner, arXiv 1705.07107).

        G = -(K + ridge I)^-1 B,   B_i = sum_j grad_{x_j} k(x_i, x_j)

    `G` is the score at the samples, `at_samples`: the ridge regression of `E[k(x, y) score(y) + grad_y k(x, y)] = 0`
    for `x` at each of them. A call gives the score elsewhere: each point is taken for one more sample. It costs
    `M^3 / 3` multiplications, and `M^2` for each new point.

    Args:
        samples: independent draws, `[M, ...]`.
        ridge: added to the diagonal of the matrix of the kernel, which is 1 there.
        bandwidth: width of the kernel in units of the samples; by default the median distance of two samples.

    Raises:
        ValueError: for fewer than two samples, numbers that are not finite, or a ridge or a width that is not positive.
    """
    if doors.known(ridge) and not ridge > 0:
        raise ValueError(f"the ridge of the Stein estimator must be positive, got {ridge}")
    samples, points, width = _prepared(samples, bandwidth)
    kernel = _kernel(points, points, width)
    factor = jnp.linalg.cholesky(kernel + ridge * jnp.eye(len(points), dtype=points.dtype))
    repulsion = _repulsion(kernel, points, points, width)
    return SteinScore(samples, width, jnp.asarray(ridge, points.dtype), factor, repulsion)


def spectral(samples: Array, *, mass: float = 0.99, bandwidth: float | Array | None = None) -> SpectralScore:
    """Return the score of the law of samples, by eigenfunctions of a kernel (SSGE, Shi et al., arXiv 1806.02925).

        score = sum_j beta_j psi_j,   psi_j(x) = sqrt(M) / lambda_j sum_i u_ij k(x, x_i),
        beta_j = -1/M sum_i grad psi_j(x_i)

    with eigenvalues `lambda_j` and eigenvectors `u_j` of the matrix of the kernel. The `psi_j` are approximately
    orthonormal under the law, so that the coefficients of the score follow by partial integration. The sum holds the
    largest eigenvalues, as many as have the share `mass` of the sum of all: more of them follow the law more closely,
    and the noise of the samples as well. Far from all samples the estimate fades to zero.

    Args:
        samples: independent draws, `[M, ...]`.
        mass: share of the sum of the eigenvalues that is kept, in (0, 1].
        bandwidth: width of the kernel in units of the samples; by default the median distance of two samples.

    Raises:
        ValueError: for fewer than two samples, numbers that are not finite, or a mass or a width out of range.
    """
    if doors.known(mass) and not 0 < mass <= 1:
        raise ValueError(f"mass, the share of the eigenvalues that is kept, must lie in (0, 1], got {mass}")
    samples, points, width = _prepared(samples, bandwidth)
    kernel = _kernel(points, points, width)
    values, vectors = jnp.linalg.eigh(kernel)
    values, vectors = jnp.maximum(values[::-1], 0.0), vectors[:, ::-1]  # the largest first
    larger = jnp.cumsum(values) - values
    rounding = len(points) * jnp.finfo(points.dtype).eps * values[0]
    keep = (larger < mass * jnp.sum(values)) & (values > rounding)
    inverse = jnp.where(keep, 1.0 / jnp.where(keep, values, 1.0), 0.0)
    # sum_i grad psi_j(x_i) is made of sum_i grad_{x_i} k(x_i, x_l), the repulsion of x_l
    repulsion = _repulsion(kernel, points, points, width)
    weights = -(vectors * inverse**2) @ (vectors.T @ repulsion)
    return SpectralScore(samples, width, weights, jnp.sum(keep))


def entropy_surrogate(score: Callable[[Array], Array], x: Array) -> Array:
    """Return what has the gradient of minus the entropy of the law of `x`, `[B]`: `score(x) . x`, the score held fixed.

        grad_theta H(q) = -E[ grad log q(x) . dx / dtheta ],   x = g_theta(noise)

    since `E[grad_theta log q(x)]` at fixed `x` is zero (Song et al., arXiv 1905.07088, section 4.2). Only the gradient
    of the mean has a meaning, the value has none. To minimize it is to spread the samples out.

    Args:
        score: `(x [B, ...]) -> [B, ...]`, grad log q; its own parameters get no gradient.
        x: samples `[B, ...]`, a differentiable function of the parameters.

    Raises:
        ValueError: on samples or a score of another kind or shape.
    """
    x = doors.points(x, finite=False)
    fixed = lax.stop_gradient(x)
    value = lax.stop_gradient(doors.field(fixed, score(fixed)))
    return jnp.sum((value * x).reshape(len(x), -1), axis=1)


def _prepared(samples: Array, bandwidth: float | Array | None) -> tuple[Array, Array, Array]:
    """The samples, the same as centered vectors `[M, D]`, and the width of the kernel."""
    samples = doors.points(samples, "samples")
    if len(samples) < 2:
        raise ValueError(f"a score is estimated from at least two samples, got {len(samples)}")
    if bandwidth is not None and doors.known(bandwidth) and not np.all(np.asarray(bandwidth) > 0):
        raise ValueError(f"the bandwidth of a kernel must be positive, got {bandwidth}")
    points = _centered(samples, samples)[0]
    if bandwidth is None:
        bandwidth = jnp.sqrt(_median(_squares(points, points)))
    least = jnp.finfo(points.dtype).tiny ** 0.5  # of samples that are all the same, whose score is then zero
    return samples, points, jnp.maximum(jnp.asarray(bandwidth, points.dtype), least)


def _centered(x: Array, samples: Array) -> tuple[Array, Array]:
    """Points and samples as vectors about the mean of the samples, where differences of them are rounded least."""
    x = doors.points(x, shape=(*jnp.shape(x)[:1], *samples.shape[1:]), finite=False)
    mean = jnp.mean(samples, axis=0)
    return (x - mean).reshape(len(x), -1), (samples - mean).reshape(len(samples), -1)


def _squares(points: Array, samples: Array) -> Array:
    """Squared distances, `[B, M]`."""
    product = points @ samples.T
    return jnp.maximum(jnp.sum(points**2, axis=1)[:, None] + jnp.sum(samples**2, axis=1) - 2.0 * product, 0.0)


def _median(squares: Array) -> Array:
    """The median of numbers `[M, M]` off the diagonal, which is zero; halving an interval is faster than sorting."""
    count = len(squares)
    half = count + count * (count - 1) // 2  # with the diagonal

    def narrow(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        above = jnp.sum(squares <= middle) >= half  # the median is at most the middle
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    return lax.fori_loop(0, 24, narrow, (jnp.zeros_like(squares[0, 0]), jnp.max(squares)))[1]


def _kernel(points: Array, samples: Array, width: Array) -> Array:
    """`k(x_b, x_m)`, `[B, M]`."""
    return jnp.exp(-0.5 * _squares(points, samples) / width**2)


def _repulsion(weights: Array, points: Array, samples: Array, width: Array) -> Array:
    """`sum_m weights_bm (x_b - x_m) / width^2`, `[B, D]`: with the kernel as weights `sum_m grad_{x_m} k(x_b, x_m)`."""
    return (jnp.sum(weights, axis=1, keepdims=True) * points - weights @ samples) / width**2
