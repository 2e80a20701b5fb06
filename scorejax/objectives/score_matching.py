"""Score matching without a time: a score of one density is fitted to samples of it alone.

For a density `p` with score `grad log p` and any score `s` with Jacobian `J`, partial integration gives

    E |s - grad log p|^2 / 2 = E[ tr J + |s|^2 / 2 ] + E |grad log p|^2 / 2                  (Hyvarinen 2005)

where the last mean does not depend on `s`. Every objective here is in that one scale, summed over the dimensions of an
example: `exact`, `sliced` and `finite_difference` have the mean of the bracket, which is negative at its minimum;
`denoising` exceeds it by `D / (2 sigma^2)`, and `explicit` by the last mean.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jax import Array
from jax.tree_util import Partial

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Positive
from scorejax.numerics.trees import register_dataclass
from scorejax.scores import jacobian

StaticScore: TypeAlias = Callable[[Array], Array]
"""`score(x [B, ...]) -> [B, ...]`, `grad log p(x)` of one density, each example's from its own row alone."""
Energy: TypeAlias = Callable[[Array], Array]
"""`energy(x [B, ...]) -> [B]` in nats, each example's from its own row alone; the density is `exp(-E) / Z`."""
Timeless: TypeAlias = Callable[..., Array]
"""`(key, score, x) -> loss [B]`."""
Levels: TypeAlias = Annotated[tuple[Positive, ...], MinLen(1)]
_CHUNK = 64  # directions of the exact trace that are in memory at once


@register_dataclass
@dataclass(frozen=True)
class EnergyScore:
    """The score `-grad E` of an energy. Objectives that need less than the score itself ask the energy."""

    energy: Callable[[Array], Array]

    def __call__(self, x: Array) -> Array:
        """Return the score at points `[B, ...]`."""
        return -jax.grad(lambda y: jnp.sum(self.of(y)))(x)

    def of(self, x: Array) -> Array:
        """Return the energy of points `[B, ...]`, `[B]`.

        Raises:
            ValueError: if it is not one number per example.
        """
        return doors.per_row(x, self.energy(x), "an energy")


def of_energy(energy: Energy) -> EnergyScore:
    """Return the score `-grad E(x)` of the density `exp(-E(x))`, up to normalization.

    Args:
        energy: maps `x [B, ...]` to nats `[B]`, each example's from its own row alone. Give parameters to it by
            `jax.tree_util.Partial(function, params)`; new ones then compile no program again.
    """
    return EnergyScore(energy if isinstance(energy, Partial) else Partial(energy))


def exact(key: Array | None, score: StaticScore, x: Array) -> Array:
    """Return `tr J + |s|^2 / 2` of each example, `[B]` (Hyvarinen 2005).

    The trace takes a product with each of the `D` unit vectors: for few dimensions, and to measure what the others
    estimate.

    Args:
        key: not needed; it may be None.
        score: `score(x)`, the model's.
        x: data, `[B, ...]`.

    Raises:
        ValueError: on data or a score of another kind or shape.
    """
    x = doors.points(x)
    value, push = jax.linearize(_checked(score), x)
    dimension = math.prod(x.shape[1:])

    def entry(i: Array) -> Array:
        unit = jnp.zeros(dimension, x.dtype).at[i].set(1.0).reshape(x.shape[1:])
        return jnp.sum(push(jnp.broadcast_to(unit, x.shape)) * unit, axis=tuple(range(1, x.ndim)))

    trace = jnp.sum(jax.lax.map(entry, jnp.arange(dimension), batch_size=min(_CHUNK, dimension)), axis=0)
    return trace + 0.5 * _dot(value, value)


def sliced(
    key: Array,
    score: StaticScore,
    x: Array,
    *,
    probes: Count = 1,
    projection: Literal["rademacher", "gaussian", "sphere"] = "rademacher",
    variance_reduced: bool = True,
) -> Array:
    """Return `v^T J v + |s|^2 / 2` of each example, the mean over random directions `v`, `[B]` (arXiv 1905.07088).

    Its mean is that of `exact`, since `E[v v^T] = I`. It costs one product with the Jacobian for each direction. With
    `variance_reduced=False` the square is projected too, `(v^T s)^2 / 2` (SSM; the other is SSM-VR), which for an
    energy costs a quarter less and has often, but not always, the larger variance. Networks whose second derivatives
    vanish (ReLU) cannot learn from it.

    Args:
        key: one key, or one per example `[B]`.
        score: `score(x)`, the model's.
        x: data, `[B, ...]`.
        probes: directions for each example.
        projection: their law: `rademacher` (least variance), `gaussian` or `sphere` (of radius sqrt(D)).
        variance_reduced: take the square of the score itself rather than of its projection.

    Raises:
        ValueError: on an unknown law, fewer than one direction, or data, keys or a score of another kind or shape.
    """
    x = doors.points(x)
    vectors = jacobian.draw(keys_lib.per_example(key, len(x)), x, projection, probes)
    if isinstance(score, EnergyScore) and not variance_reduced:
        # Two derivatives along a line, both forward: no gradient is needed.
        slope, curvature = jax.vmap(lambda v: _along(score.of, x, v), in_axes=1)(vectors)
        return jnp.mean(0.5 * slope**2 - curvature, axis=0)
    value, products = jacobian.value_and_products(_checked(score), x, vectors)

    def one(v: Array, product: Array) -> Array:
        square = _dot(value, value) if variance_reduced else _dot(v, value) ** 2
        return _dot(v, product) + 0.5 * square

    return jnp.mean(jax.vmap(one, in_axes=1)(vectors, products), axis=0)


def finite_difference(key: Array, score: StaticScore, x: Array, *, radius: Positive = 0.1) -> Array:
    """Return `sliced` with differences in the place of derivatives, `[B]` (Pang et al., arXiv 2007.03317).

        score:   |s(x + u) + s(x - u)|^2 / 8 + D (s(x + u) - s(x - u))^T u / (2 radius^2)
        energy:  D / radius^2 [ (E(x + u) - E(x - u))^2 / 8 - (E(x + u) + E(x - u) - 2 E(x)) ]

    with `u` uniform on the sphere of this radius. The mean is that of `exact` up to `O(radius^2)`, and without any
    error where the score is linear. Of a score no derivative is taken, and none of an energy. In float32 the rounding
    of an energy is multiplied by `D / radius^2`: keep the radius above 0.03.

    Args:
        key: one key, or one per example `[B]`.
        score: `score(x)`, the model's, or `of_energy(energy)`.
        x: data, `[B, ...]`.
        radius: of the sphere, in the units of `x`.

    Raises:
        ValueError: on a radius that is not positive, or data, keys or a score of another kind or shape.
    """
    if doors.known(radius) and not radius > 0:
        raise ValueError(f"the radius of finite_difference must be positive, got {radius}")
    x = doors.points(x)
    dimension, count = math.prod(x.shape[1:]), len(x)
    direction = jacobian.draw(keys_lib.per_example(key, count), x, "sphere")[:, 0]
    u = radius / math.sqrt(dimension) * direction
    if isinstance(score, EnergyScore):
        there, back, here = jnp.split(score.of(jnp.concatenate([x + u, x - u, x])), 3)
        return dimension / radius**2 * ((there - back) ** 2 / 8.0 - ((there - here) + (back - here)))
    there, back = jnp.split(_checked(score)(jnp.concatenate([x + u, x - u])), 2)
    middle = 0.5 * (there + back)
    return 0.5 * _dot(middle, middle) + dimension / (2.0 * radius**2) * _dot(there - back, u)


def denoising(key: Array, score: StaticScore, x: Array, *, sigma: Positive | Levels) -> Array:
    """Return `|s(x + sigma z) + z / sigma|^2 / 2` of each example with standard normal `z`, `[B]` (Vincent 2011).

    Its minimizer is the score of the data with noise, `p * N(0, sigma^2)`. For any score its mean exceeds that of
    `exact` at the noisy data by `D / (2 sigma^2)`.

    Args:
        key: one key, or one per example `[B]`.
        score: `score(x)`, the model's.
        x: data, `[B, ...]`.
        sigma: standard deviation of the noise, in the units of `x`. Of several, each example draws one; its loss is
            then multiplied by `sigma^2`, which gives all levels the same scale, and the score is that of the mixture
            of all levels (a model without a time cannot tell them apart).

    Raises:
        ValueError: on levels that are not positive, or data, keys or a score of another kind or shape.
    """
    levels = tuple(sigma) if isinstance(sigma, Sequence) else (sigma,)
    if not levels or (doors.known(levels) and not all(level > 0 for level in levels)):
        raise ValueError(f"denoising needs noise of at least one level, all positive, got sigma={sigma}")
    x = doors.points(x)
    keys = keys_lib.per_example(key, len(x))
    noise = keys_lib.normal(keys, x.shape, x.dtype)
    if len(levels) == 1:
        return explicit(None, score, x + levels[0] * noise, truth=lambda noisy: -noise / levels[0])
    place = jnp.floor(keys_lib.uniform(keys_lib.fold_in(keys, 1), (len(x),)) * len(levels)).astype(jnp.int32)
    std = jnp.asarray(levels, x.dtype)[place].reshape(-1, *[1] * (x.ndim - 1))
    return explicit(None, lambda noisy: std * score(noisy), x + std * noise, truth=lambda noisy: -noise)


def explicit(key: Array | None, score: StaticScore, x: Array, *, truth: StaticScore) -> Array:
    """Return `|s(x) - truth(x)|^2 / 2` of each example, `[B]`: half the Fisher divergence, where the score is known.

    Args:
        key: not needed; it may be None.
        score: `score(x)`, the model's.
        x: data, `[B, ...]`.
        truth: `grad log p(x)`.

    Raises:
        ValueError: on data or scores of another kind or shape.
    """
    x = doors.points(x)
    error = doors.field(x, score(x)) - doors.field(x, truth(x), "the true score")
    return 0.5 * _dot(error, error)


MATCHINGS: dict[str, Timeless] = {
    "exact": exact,
    "sliced": sliced,
    "finite_difference": finite_difference,
    "denoising": denoising,
}
"""The objectives that need samples alone, by name; the parameters of each with their defaults are its settings."""


def needs_truth(objective: Timeless) -> bool:
    """Return whether an objective compares with a score that is known."""
    return "truth" in inspect.signature(objective).parameters


def _checked(score: StaticScore) -> StaticScore:
    return lambda x: doors.field(x, score(x))


def _along(energy: Energy, x: Array, v: Array) -> tuple[Array, Array]:
    """The first and second derivative of an energy along `x + t v` at `t = 0`, each `[B]`."""

    def slope(t: Array) -> Array:
        return jax.jvp(lambda t: energy(x + t * v), (t,), (jnp.ones_like(t),))[1]

    zero = jnp.zeros((), x.dtype)
    return jax.jvp(slope, (zero,), (jnp.ones_like(zero),))


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum((a * b).reshape(a.shape[0], -1), axis=1)
