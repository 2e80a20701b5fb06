"""Conjugate gradients for a batch of symmetric systems `M x = b`, each solved as if it were alone.

The matrices are known by their products only, such as those with a network's Jacobian.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

Linear = Callable[[Array], Array]


def solve(matvec: Linear, b: Array, *, iterations: int, tolerance: float = 1e-5) -> Array:
    """Return `M^{-1} b` for one symmetric positive semi-definite `M` per example, known by its products.

    An example stops when its residual has fallen to `tolerance |b|`, or when `M` turns out not to be positive along
    its search direction (possible where `M` holds the Jacobian of a trained network). It is then left alone while
    others go on, so no result depends on batch-mates. Derivatives are those of the exact solution.

    Args:
        matvec: maps `[B, ...]` to `[B, ...]`, each row by its own matrix.
        b: right-hand sides, `[B, ...]`; for a singular `M`, in its range.
        iterations: most iterations.
        tolerance: relative residual at which an example stops.
    """

    def run(matvec: Linear, b: Array) -> Array:
        goal = tolerance**2 * _dot(b, b)

        def unfinished(state: tuple[Array, ...]) -> Array:
            i, *_, active = state
            return (i < iterations) & jnp.any(active)

        def body(state: tuple[Array, ...]) -> tuple[Array, ...]:
            i, x, residual, direction, square, active = state
            product = matvec(direction)
            curvature = _dot(direction, product)
            # the Jacobian of a trained network need not be symmetric or positive: stop before a step uphill
            active = active & (curvature > 0.0)
            step = jnp.where(active, square / jnp.where(active, curvature, 1.0), 0.0)
            x, residual = x + step * direction, residual - step * product
            new = _dot(residual, residual)
            turn = jnp.where(active, new / jnp.where(active, square, 1.0), 0.0)
            direction = jnp.where(active, residual + turn * direction, direction)
            return i + 1, x, residual, direction, jnp.where(active, new, square), active & (new > goal)

        square = _dot(b, b)
        state = (jnp.zeros((), jnp.int32), jnp.zeros_like(b), b, b, square, square > 0.0)
        return jax.lax.while_loop(unfinished, body, state)[1]

    # derivatives of the exact solution: one more solve instead of a loop run backwards
    return jax.lax.custom_linear_solve(matvec, b, run, symmetric=True)


def _dot(a: Array, b: Array) -> Array:
    """Inner product of every example, shaped to multiply it again."""
    return jnp.sum(a * b, axis=tuple(range(1, a.ndim)), keepdims=True)
