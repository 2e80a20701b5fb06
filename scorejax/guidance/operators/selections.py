"""Operators that pick or combine coordinates: masks `m x`, means of channels `x W^T`, explicit matrices."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.guidance.operators.base import CUTOFF, EXACT, Operator
from scorejax.numerics import doors
from scorejax.numerics.trees import register_dataclass, static


@register_dataclass
@dataclass(frozen=True)
class Mask(Operator):
    """`A x = x` where the mask is true, 0 elsewhere."""

    mask: Array

    def forward(self, x: Array) -> Array:
        return jnp.where(fit_mask(self.mask, x.shape), x, 0.0)

    def adjoint(self, y: Array) -> Array:
        return self.forward(y)

    def pinv(self, y: Array) -> Array:
        return self.forward(y)

    def clean(self, y: Array) -> Array:
        return self.forward(y)


@register_dataclass
@dataclass(frozen=True)
class Channels(Operator):
    """`y = x W^T` at every pixel, `W [K, C]`: a gray image, or other colors."""

    matrix: Array
    matrix_pinv: Array

    def forward(self, x: Array) -> Array:
        return jnp.matmul(x, self.matrix.T, precision=EXACT)

    def adjoint(self, y: Array) -> Array:
        return jnp.matmul(y, self.matrix, precision=EXACT)

    def pinv(self, y: Array) -> Array:
        return jnp.matmul(y, self.matrix_pinv.T, precision=EXACT)


@register_dataclass
@dataclass(frozen=True)
class Dense(Operator):
    """An explicit matrix `[M, D]` on the flattened example of shape `shape`."""

    matrix: Array
    matrix_pinv: Array
    shape: tuple[int, ...] = static()

    def forward(self, x: Array) -> Array:
        return jnp.matmul(x.reshape(x.shape[0], -1), self.matrix.T, precision=EXACT)

    def adjoint(self, y: Array) -> Array:
        return jnp.matmul(y, self.matrix, precision=EXACT).reshape(-1, *self.shape)

    def pinv(self, y: Array) -> Array:
        return jnp.matmul(y, self.matrix_pinv.T, precision=EXACT).reshape(-1, *self.shape)


def mask(known: Array | np.ndarray) -> Mask:
    """Return the operator that keeps the entries where `known` is true (nonzero) and sets the others to 0.

    Args:
        known: the shape of an example or of the batch; axes of length 1 are spread, so `[H, W, 1]` serves colors.
    """
    with doors.evaluated(known):
        return Mask(jnp.asarray(known) != 0)


def gray(channels: int = 3) -> Channels:
    """Return the mean over the channels, `[B, H, W, C] -> [B, H, W, 1]`."""
    ones = jnp.ones((1, channels))
    return Channels(ones / channels, ones.T)


def dense(matrix: Array | np.ndarray, shape: tuple[int, ...]) -> Dense:
    """Return an explicit matrix acting on flattened examples.

    Args:
        matrix: `[M, D]`, concrete.
        shape: the shape of an example, of product `D`.

    Raises:
        ValueError: if the matrix does not fit the shape.
    """
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != np.prod(shape, dtype=int):
        raise ValueError(f"dense: a matrix [M, {np.prod(shape, dtype=int)}] is needed for {shape}, got {matrix.shape}")
    pseudo = np.linalg.pinv(matrix, rcond=CUTOFF)
    with doors.evaluated():  # numbers also inside a compiled program, where `ddrm` decomposes them
        return Dense(jnp.asarray(matrix, jnp.float32), jnp.asarray(pseudo, jnp.float32), tuple(shape))


def random_projection(key: Array, measurements: int, shape: tuple[int, ...]) -> Dense:
    """Return a Gaussian measurement matrix `[M, D]` with entries of variance `1 / D` (compressed sensing).

    Args:
        key: a typed PRNG key.
        measurements: `M`.
        shape: the shape of an example.
    """
    dim = int(np.prod(shape))
    with doors.evaluated(key):
        return dense(np.asarray(jax.random.normal(key, (measurements, dim))) / dim**0.5, shape)


def fit_mask(known: Array, shape: tuple[int, ...]) -> Array:
    """Return a mask that broadcasts against a batch of this shape.

    Raises:
        ValueError: unless it has the axes of an example or of the batch, each of that length or 1.
    """
    whole = known if known.ndim == len(shape) else known[None]
    if whole.ndim != len(shape) or any(m not in (1, n) for m, n in zip(whole.shape, shape, strict=True)):
        raise ValueError(
            f"a mask of shape {known.shape} does not fit points of shape {shape}; give it the shape of an example "
            f"{shape[1:]} or of the batch, axes of length 1 where it is the same throughout"
        )
    return whole
