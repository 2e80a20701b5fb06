"""Score matching in closed form, for densities whose log is linear in their parameters.

    log p(x) = log q(x) + theta . features(x) + constant,

with a base measure `q`: exponential families, and kernel models, whose features are `k(x, z_l)` at inducing points. The
score is linear in `theta` too, so the loss of every example is a parabola,

    loss_b(theta) = |field_b + fields_b theta|^2 / 2 + trace_b + traces_b . theta,

and the mean over the data, with a ridge `lambda |theta|^2 / 2`, has its minimum at `-(G + lambda)^-1 b`, where

    G = mean fields^T fields,   b = mean (traces + fields^T field)

(Sriperumbudur et al., arXiv 1312.3516; Wenliang et al., arXiv 1811.08357). The losses are those of
`scorejax.objectives.score_matching`, in Hyvarinen's scale. Everything can be differentiated with respect to what the
features depend on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Positive
from scorejax.numerics.trees import register_dataclass
from scorejax.scores import jacobian

Features: TypeAlias = Callable[[Array], Array]
"""`x [B, ...] -> [B, L]`."""
LogBase: TypeAlias = Callable[[Array], Array]
"""`x [B, ...] -> [B]`, the log of the base measure up to a constant."""


@register_dataclass
@dataclass(frozen=True)
class Terms:
    """The parabola of each example.

    Attributes:
        fields: gradients of the features, or projections of them, `[B, K, L]`.
        field: gradient of the log base measure, or projections of it, with what the score is compared to, `[B, K]`.
        traces: of the Hessians of the features, `[B, L]`.
        trace: of the Hessian of the log base measure, `[B]`.
    """

    fields: Array
    field: Array
    traces: Array
    trace: Array

    def loss(self, theta: Array) -> Array:
        """The loss of each example at `theta [L]`, `[B]`."""
        score = self.field + self.fields @ theta
        return 0.5 * jnp.sum(score**2, axis=1) + self.trace + self.traces @ theta

    def moments(self, weights: Array | None = None) -> Moments:
        """The means over examples, or with `weights [B]` that sum to one; equal weights by default."""
        weights = jnp.full(len(self.trace), 1 / len(self.trace)) if weights is None else weights
        weighted = weights[:, None, None] * self.fields
        gram = jnp.einsum("bki,bkj->ij", weighted, self.fields)
        slope = weights @ self.traces + jnp.einsum("bki,bk->i", weighted, self.field)
        return Moments(gram, slope, weights @ (0.5 * jnp.sum(self.field**2, axis=1) + self.trace))


@register_dataclass
@dataclass(frozen=True)
class Moments:
    """The parabola of the data: `J(theta) = constant + slope . theta + theta^T gram theta / 2`.

    Attributes:
        gram: `G [L, L]`.
        slope: `b [L]`.
        constant: the loss of the base measure alone.
    """

    gram: Array
    slope: Array
    constant: Array

    def solve(self, ridge: Array | float) -> Array:
        """The minimum `-(G + ridge)^-1 b` of `J(theta) + ridge |theta|^2 / 2`, `[L]`; NaN where there is none."""
        matrix = self.gram + ridge * jnp.eye(len(self.slope), dtype=self.gram.dtype)
        return -jax.scipy.linalg.solve(matrix, self.slope, assume_a="pos")

    def loss(self, theta: Array) -> Array:
        """`J(theta)`, without the ridge."""
        return self.constant + self.slope @ theta + 0.5 * theta @ self.gram @ theta


@register_dataclass
@dataclass(frozen=True)
class GaussianKernels:
    """Features `k(x, z_l) = sum_r w_r exp(-|phi_r(x) - phi_r(z_l)|^2 / (2 v_r))`, whose derivatives are written out.

    Only those of `phi` are left to automatic differentiation, which takes several times as long for the whole.

    Attributes:
        embed: `phi`, `x [B, ...] -> [B, R, F]`.
        centers: `phi` at the inducing points, `[P, R, F]`.
        weights: `w [R]`.
        variances: `v [R]`.
    """

    embed: Callable[[Array], Array]
    centers: Array
    weights: Array
    variances: Array

    def __call__(self, x: Array) -> Array:
        """The kernels of points with all centers, `[B, P]`."""
        return jnp.sum(self._values(self.embed(x)), axis=1)

    def slopes(self, x: Array, vectors: Array) -> Array:
        """First derivatives along each of `vectors [K, B, ...]`, `[K, B, P]`."""
        at, first = self.embed(x), _first(self.embed, x, vectors)
        return -jnp.einsum("brp,kbrp->kbp", self._values(at), self._changes(at, first))

    def curvatures(self, x: Array, vectors: Array) -> tuple[Array, Array]:
        """The same, and the sum over all vectors of the second derivatives, `[B, P]`."""
        at, (first, second) = self.embed(x), _second(self.embed, x, vectors)
        values, changes = self._values(at), self._changes(at, first)
        lengths = jnp.einsum("kbrf,kbrf->br", first, first) / self.variances
        bends = jnp.sum(changes**2, axis=0) - lengths[..., None] - self._changes(at, second[None])[0]
        return -jnp.einsum("brp,kbrp->kbp", values, changes), jnp.sum(values * bends, axis=1)

    def _values(self, at: Array) -> Array:
        """Each kernel with its weight, `[B, R, P]`."""
        squares = _products(at, jnp.einsum("brf,brf->br", at, at), -2 * self.centers)
        squares += jnp.einsum("prf,prf->rp", self.centers, self.centers)
        return self.weights[:, None] * jnp.exp(-0.5 * squares / self.variances[:, None])

    def _changes(self, at: Array, by: Array) -> Array:
        """`(phi - centers) . by / v`, for each of `by [K, B, R, F]`, `[K, B, R, P]`."""
        products = _products(by, jnp.einsum("brf,kbrf->kbr", at, by), -self.centers)
        return products / self.variances[:, None]


def _products(rows: Array, more: Array, columns: Array) -> Array:
    """`rows . columns + more`, of `[..., R, F]`, `[..., R]` and `[P, R, F]`, `[..., R, P]`.

    `more` is one more entry of the rows: of a row sum and what it is added to XLA makes one loop, and on a CPU it makes
    a wrong one if a factor in the sum is broadcast (jax 0.10.2).
    """
    columns = jnp.concatenate([columns, jnp.ones_like(columns[..., :1])], axis=2)
    return jnp.einsum("...rf,prf->...rp", jnp.concatenate([rows, more[..., None]], axis=-1), columns)


def exact(key: Array | None, features: Features, x: Array, *, base: LogBase | None = None) -> Terms:
    """Return the parabolas of exact score matching, `J = tr Hessian + |score|^2 / 2`, at `x`.

    The second derivatives are taken along each of the D axes.

    Args:
        key: without effect; the other forms need one.
        features: of the family.
        x: data, `[B, ...]`.
        base: log of the base measure; none: constant.

    Raises:
        ValueError: `x` are no points.
    """
    x = doors.points(x, "x")
    return _terms(*_curvatures(features, base, x, _axes(x)))


def sliced(
    key: Array,
    features: Features,
    x: Array,
    *,
    base: LogBase | None = None,
    probes: Count = 1,
    projection: Literal["rademacher", "gaussian", "sphere"] = "rademacher",
    variance_reduced: bool = True,
) -> Terms:
    """Return the parabolas of sliced score matching, `v^T Hessian v + |score|^2 / 2` or `+ (v^T score)^2 / 2`, at `x`.

    Args:
        key: one key, or one per example `[B]`.
        features: of the family.
        x: data, `[B, ...]`.
        base: log of the base measure; none: constant.
        probes: vectors `v` per example, over which the loss is averaged.
        projection: their law, `rademacher`, `gaussian` or `sphere` (of radius sqrt(D)).
        variance_reduced: take `|score|^2` itself rather than its projection; costs D first derivatives.

    Raises:
        ValueError: on an unknown projection, fewer than one, or `x` that are no points.
    """
    x = doors.points(x, "x")
    vectors = jacobian.draw(keys_lib.per_example(key, len(x)), x, projection, probes)
    first, second = _curvatures(features, base, x, jnp.moveaxis(vectors, 1, 0))
    first = _slopes(features, base, x, _axes(x)) if variance_reduced else first / math.sqrt(probes)
    return _terms(first, second / probes)


def denoising(key: Array, features: Features, x: Array, *, base: LogBase | None = None, sigma: Positive = 0.1) -> Terms:
    """Return the parabolas of denoising score matching, `|score(x + sigma z) + z / sigma|^2 / 2`.

    They exceed exact score matching of the data with noise by `D / (2 sigma^2)` in the mean.

    Args:
        key: one key, or one per example `[B]`.
        features: of the family.
        x: data, `[B, ...]`.
        base: log of the base measure; none: constant.
        sigma: deviation of the noise, in the units of `x`.

    Raises:
        ValueError: `x` are no points.
    """
    x = doors.points(x, "x")
    if doors.known(sigma) and not sigma > 0:
        raise ValueError(f"denoising needs noise of a positive deviation, got sigma={sigma}")
    z = keys_lib.normal(keys_lib.per_example(key, len(x)), x.shape, x.dtype)
    first = _slopes(features, base, x + sigma * z, _axes(x))
    first = first.at[..., 0].add(z.reshape(len(x), -1) / sigma)
    return _terms(first, jnp.zeros_like(first[:, 0]))


FAMILIES: Mapping[str, Callable[..., Terms]] = {"exact": exact, "sliced": sliced, "denoising": denoising}
"""The forms by name; the parameters of each with their defaults are its settings, but for `base`."""


def _slopes(features: Features, base: LogBase | None, x: Array, vectors: Array) -> Array:
    """First derivatives of log base measure and features along each of `vectors [K, B, ...]`, `[B, K, 1 + L]`."""
    own = features.slopes(x, vectors) if isinstance(features, GaussianKernels) else _first(features, x, vectors)
    return jnp.moveaxis(jnp.concatenate([_first(_column(base), x, vectors), own], axis=2), 0, 1)


def _curvatures(features: Features, base: LogBase | None, x: Array, vectors: Array) -> tuple[Array, Array]:
    """The same, and the sum of the second derivatives along all vectors, `[B, 1 + L]`."""
    of_base = _second(_column(base), x, vectors)
    own = features.curvatures(x, vectors) if isinstance(features, GaussianKernels) else _second(features, x, vectors)
    first, second = (jnp.concatenate(pair, axis=-1) for pair in zip(of_base, own, strict=True))
    return jnp.moveaxis(first, 0, 1), second


def _column(base: LogBase | None) -> Features:
    return lambda x: jnp.zeros((len(x), 1), x.dtype) if base is None else base(x)[:, None]


def _terms(first: Array, second: Array) -> Terms:
    return Terms(first[..., 1:], first[..., 0], second[:, 1:], second[:, 0])


def _axes(x: Array) -> Array:
    """The unit vectors, `[D, B, ...]`."""
    size = math.prod(x.shape[1:])
    units = jnp.eye(size, dtype=x.dtype).reshape(size, 1, *x.shape[1:])
    return jnp.broadcast_to(units, (size, *x.shape))


def _first(function: Features, x: Array, vectors: Array) -> Array:
    """First derivatives along each of `vectors [K, B, ...]`, `[K, B, ...]`."""
    return jax.vmap(lambda v: jax.jvp(function, (x,), (v,))[1])(vectors)


def _second(function: Features, x: Array, vectors: Array) -> tuple[Array, Array]:
    """The same, and the sum over all vectors of the second derivatives."""

    def along(v: Array) -> tuple[Array, Array]:
        return jax.jvp(lambda y: jax.jvp(function, (y,), (v,))[1], (x,), (v,))

    first, second = jax.vmap(along)(vectors)
    return first, jnp.sum(second, axis=0)
