"""Gaussian mixtures seen through a linear measurement: the law of what is measured, and that of the data given it.

With `y = A x + sigma_y n` and a component `N(m, C)` of weight w,

    S = A C A^T + sigma_y^2,   y ~ N(A m, S),   x | y ~ N(m + K (y - A m), C - K A C),   K = C A^T S^{-1}

and given y the weight is proportional to `w N(y; A m, S)` (Bishop, Pattern Recognition and Machine Learning, 2.3.3).
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors

Matrix = Array | np.ndarray


class Measures(Protocol):
    """A linear operator, as those of `scorejax.guidance.operators`."""

    def forward(self, x: Array) -> Array:
        """Return `A x` for every example of `x [B, ...]`."""
        ...

    def clean(self, y: Array) -> Array:
        """Return a measurement without what stands where nothing is measured."""
        ...


class Parts(NamedTuple):
    """Components as eigenvectors and eigenvalues: the fields of a mixture."""

    log_weights: Matrix
    means: Matrix
    axes: Matrix
    variances: Matrix


class _Seen(NamedTuple):
    """What a measurement sees of each component."""

    matrix: Matrix
    means: Matrix
    crossed: Matrix
    covariances: Matrix


def measured(parts: Parts, operator: Measures, sigma_y: float | Array) -> Parts:
    """Return the components of the law of `y = A x + sigma_y n`, flattened."""
    xp, parts = _on_host(parts, operator, sigma_y)
    seen = _seen(xp, parts, operator, sigma_y)
    variances, axes = xp.linalg.eigh(seen.covariances)
    return Parts(parts.log_weights, seen.means, axes, xp.maximum(variances, 0.0))


def given(parts: Parts, operator: Measures, y: Matrix, sigma_y: float | Array) -> Parts:
    """Return the components of the law of `x` given `y = A x + sigma_y n`."""
    xp, parts = _on_host(parts, operator, y, sigma_y)
    seen = _seen(xp, parts, operator, sigma_y)
    offset = (xp.asarray(_one(operator, y, parts.means.shape[1])) - seen.means)[..., None]
    solved = xp.linalg.solve(seen.covariances, offset)
    distance = xp.sum(offset * solved, axis=(1, 2))
    logits = parts.log_weights - 0.5 * (distance + xp.linalg.slogdet(seen.covariances)[1])
    peak = xp.max(logits)
    log_weights = logits - peak - xp.log(xp.sum(xp.exp(logits - peak)))
    gain = xp.swapaxes(xp.linalg.solve(seen.covariances, xp.swapaxes(seen.crossed, 1, 2)), 1, 2)
    means = parts.means + (gain @ offset)[..., 0]
    after = _covariances(xp, parts) - gain @ xp.swapaxes(seen.crossed, 1, 2)
    variances, axes = xp.linalg.eigh(0.5 * (after + xp.swapaxes(after, 1, 2)))
    return Parts(log_weights, means, axes, xp.maximum(variances, 0.0))


def _on_host(parts: Parts, *others: object) -> tuple[ModuleType, Parts]:
    """Return NumPy and the components in float64 where all numbers are known, else JAX and what they are."""
    if doors.known(parts, *others):
        return np, Parts(*(np.asarray(part, np.float64) for part in parts))
    return jnp, Parts(*(jnp.asarray(part, jnp.result_type(float)) for part in parts))


def _seen(xp: ModuleType, parts: Parts, operator: Measures, sigma_y: float | Array) -> _Seen:
    dim = parts.means.shape[1]
    with doors.evaluated(operator):
        columns = operator.forward(jnp.eye(dim, dtype=jnp.result_type(float)))
    matrix = xp.asarray(columns.reshape(dim, -1)).T
    crossed = _covariances(xp, parts) @ matrix.T
    total = matrix @ crossed + xp.asarray(sigma_y) ** 2 * xp.eye(len(matrix))
    return _Seen(matrix, parts.means @ matrix.T, crossed, 0.5 * (total + xp.swapaxes(total, 1, 2)))


def _covariances(xp: ModuleType, parts: Parts) -> Matrix:
    return xp.einsum("kij,kj,klj->kil", parts.axes, parts.variances, parts.axes)


def _one(operator: Measures, y: Matrix, dim: int) -> Array:
    """Return one measurement as a vector, what measures nothing in it gone.

    Raises:
        ValueError: on several measurements, or one of another size.
    """
    dtype = jnp.result_type(float)
    shape = jax.eval_shape(operator.forward, jax.ShapeDtypeStruct((1, dim), dtype)).shape
    if np.shape(y) not in (shape, shape[1:]):
        raise ValueError(
            f"given: one measurement of shape {shape[1:]} is needed, got {tuple(np.shape(y))}; for several take "
            "jax.vmap over them"
        )
    with doors.evaluated(operator, y):
        return operator.clean(jnp.asarray(y, dtype).reshape(shape)).reshape(-1)
