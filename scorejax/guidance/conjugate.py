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


def square_root(matvec: Linear, b: Array, *, iterations: int = 30) -> Array:
    """Return `M^{1/2} b` for one symmetric positive semi-definite `M` per example, by Lanczos's iteration.

    In the basis `V` of the Krylov space of `b` the matrix is tridiagonal, `T = V^T M V`, and
    `M^{1/2} b ~ |b| V T^{1/2} e_1`. It is exact once there are as many iterations as `M` has different eigenvalues.

    Args:
        matvec: maps `[B, ...]` to `[B, ...]`, each row by its own matrix.
        b: `[B, ...]`.
        iterations: dimensions of the space, at most those of an example.
    """
    rows = b.shape[0]
    flat = b.reshape(rows, -1)
    iterations = min(iterations, flat.shape[1])
    size = jnp.linalg.norm(flat, axis=1)
    tiny = 1e-6

    def body(state: tuple[Array, ...], i: Array) -> tuple[tuple[Array, ...], tuple[Array, Array]]:
        basis, vector = state
        basis = basis.at[i].set(vector)
        product = matvec(vector.reshape(b.shape)).reshape(rows, -1)
        diagonal = jnp.sum(vector * product, axis=1)
        # against all earlier vectors, twice: in float32 the short recursion loses its orthogonality
        for _ in range(2):
            product = product - jnp.einsum("kbd,kb->bd", basis, jnp.einsum("kbd,bd->kb", basis, product))
        length = jnp.linalg.norm(product, axis=1)
        # the space is complete: what follows has no part in the result
        going = length > tiny * jnp.maximum(jnp.abs(diagonal), tiny)
        following = jnp.where(going[:, None], product / jnp.where(going, length, 1.0)[:, None], 0.0)
        return (basis, following), (diagonal, jnp.where(going, length, 0.0))

    start = flat / jnp.where(size > 0.0, size, 1.0)[:, None]
    state = (jnp.zeros((iterations, *flat.shape), b.dtype), start)
    (basis, _), (diagonal, beside) = jax.lax.scan(body, state, jnp.arange(iterations))
    tridiagonal = jax.vmap(lambda a, b: jnp.diag(a) + jnp.diag(b, 1) + jnp.diag(b, -1))(diagonal.T, beside[:-1].T)
    values, vectors = jnp.linalg.eigh(tridiagonal)
    first = jnp.einsum("bij,bj,bj->bi", vectors, jnp.sqrt(jnp.maximum(values, 0.0)), vectors[:, 0])
    return (size[:, None] * jnp.einsum("kbd,bk->bd", basis, first)).reshape(b.shape)


def largest(matvec: Linear, b: Array, *, iterations: int = 60) -> Array:
    """Return the largest eigenvalue of each symmetric positive semi-definite `M`, `[B]`, by powers from `b`."""

    def body(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        vector, _ = state
        product = matvec(vector)
        size = jnp.sqrt(_dot(product, product))
        return product / jnp.where(size > 0.0, size, 1.0), size

    vector = b / jnp.sqrt(_dot(b, b))
    size = jax.lax.fori_loop(0, iterations, body, (vector, jnp.zeros_like(_dot(b, b))))[1]
    return size.reshape(-1)
