"""Operators on images `[B, H, W, C]`: blurs `R x C^T`, circular convolutions, and averages over blocks.

Their matrices are decomposed once, on the host, so that pseudo-inverses are products too.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.guidance.operators.base import CUTOFF, EXACT, Operator
from scorejax.numerics import doors
from scorejax.numerics.trees import register_dataclass, static

BOUNDARIES = ("reflect", "zero")


@register_dataclass
@dataclass(frozen=True)
class Separable(Operator):
    """`A x = R x C^T` in every channel: any separable filter or resampling, two matrix products."""

    rows: Array
    columns: Array
    rows_pinv: Array
    columns_pinv: Array

    def forward(self, x: Array) -> Array:
        return _both_axes(self.rows, self.columns, x)

    def adjoint(self, y: Array) -> Array:
        return _both_axes(self.rows.T, self.columns.T, y)

    def pinv(self, y: Array) -> Array:
        return _both_axes(self.rows_pinv, self.columns_pinv, y)


@register_dataclass
@dataclass(frozen=True)
class Circular(Operator):
    """Circular convolution of every channel, a product in the Fourier domain."""

    transfer: Array
    cutoff: float = static(default=CUTOFF)

    def forward(self, x: Array) -> Array:
        return self._filter(x, self.transfer)

    def adjoint(self, y: Array) -> Array:
        return self._filter(y, jnp.conj(self.transfer))

    def pinv(self, y: Array) -> Array:
        size = jnp.abs(self.transfer)
        kept = size > self.cutoff * jnp.max(size)
        return self._filter(y, jnp.where(kept, 1.0 / jnp.where(kept, self.transfer, 1.0), 0.0))

    def _filter(self, x: Array, transfer: Array) -> Array:
        modes = jnp.fft.fft2(x, axes=(1, 2)) * transfer[..., None]
        return jnp.real(jnp.fft.ifft2(modes, axes=(1, 2))).astype(x.dtype)


@register_dataclass
@dataclass(frozen=True)
class AveragePool(Operator):
    """Means over `factor x factor` blocks: the measurement of super-resolution."""

    factor: int = static()

    def forward(self, x: Array) -> Array:
        b, h, w, c = x.shape
        f = self.factor
        if h % f or w % f:
            raise ValueError(f"average_pool: images of {h}x{w} do not divide into blocks of {f}x{f}")
        return x.reshape(b, h // f, f, w // f, f, c).mean((2, 4))

    def adjoint(self, y: Array) -> Array:
        return self.pinv(y) / self.factor**2

    def pinv(self, y: Array) -> Array:
        return jnp.repeat(jnp.repeat(y, self.factor, axis=1), self.factor, axis=2)


def separable(rows: Array | np.ndarray, columns: Array | np.ndarray) -> Separable:
    """Return `A x = R x C^T` on images `[B, H, W, C]`.

    Args:
        rows: `R [H', H]`, concrete.
        columns: `C [W', W]`, concrete.

    Raises:
        ValueError: unless both are matrices.
    """
    pair = [np.asarray(m, np.float64) for m in (rows, columns)]
    if any(m.ndim != 2 for m in pair):
        raise ValueError(f"separable: two matrices are needed, got shapes {pair[0].shape} and {pair[1].shape}")
    # decomposed in float64: a pseudo-inverse of a blur is badly conditioned
    single = [np.asarray(m, np.float32) for m in (*pair, *(np.linalg.pinv(m, rcond=CUTOFF) for m in pair))]
    with doors.evaluated():  # numbers also inside a compiled program, where `ddrm` decomposes them
        return Separable(*map(jnp.asarray, single))


def gaussian_blur(size: tuple[int, int], sigma: float, *, boundary: str = "reflect") -> Separable:
    """Return the blur by a sampled Gaussian kernel of radius `ceil(4 sigma)`, weights summing to 1.

    Args:
        size: `(H, W)` of the images.
        sigma: standard deviation of the kernel, in pixels.
        boundary: what lies outside: `reflect` (the image mirrored at its edge, the edge repeated), or `zero`.

    Raises:
        ValueError: if the boundary is unknown or `sigma` is not positive.
    """
    if boundary not in BOUNDARIES:
        raise ValueError(f"gaussian_blur: unknown boundary {boundary!r}; choose one of {', '.join(BOUNDARIES)}")
    if not sigma > 0:
        raise ValueError(f"gaussian_blur: sigma must be positive, got {sigma}")
    return separable(*(_blur_matrix(n, sigma, boundary) for n in size))


def circular_blur(kernel: Array | np.ndarray, size: tuple[int, int]) -> Circular:
    """Return circular convolution by any kernel, centered on its middle, through the Fourier transform.

    Args:
        kernel: `[h, w]`, not larger than the images.
        size: `(H, W)` of the images.

    Raises:
        ValueError: if the kernel is not a matrix or is larger than the images.
    """
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim != 2 or kernel.shape[0] > size[0] or kernel.shape[1] > size[1]:
        raise ValueError(f"circular_blur: need a kernel [h, w] not larger than {size}, got {kernel.shape}")
    whole = np.zeros(size)
    whole[: kernel.shape[0], : kernel.shape[1]] = kernel
    whole = np.roll(whole, [-(n // 2) for n in kernel.shape], (0, 1))
    return Circular(jnp.asarray(np.fft.fft2(whole), jnp.complex64))


def average_pool(factor: int) -> AveragePool:
    """Return means over `factor x factor` blocks, the measurement of super-resolution.

    Raises:
        ValueError: if `factor < 1`; when applied, if it does not divide the image.
    """
    if factor < 1:
        raise ValueError(f"average_pool: factor must be at least 1, got {factor}")
    return AveragePool(factor)


def _both_axes(rows: Array, columns: Array, x: Array) -> Array:
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x, precision=EXACT)


def _blur_matrix(n: int, sigma: float, boundary: str) -> np.ndarray:
    radius = int(np.ceil(4.0 * sigma))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    matrix = np.zeros((n, n))
    for offset, weight in zip(range(-radius, radius + 1), weights, strict=True):
        target = np.arange(n)
        source = target + offset
        if boundary == "reflect":
            # the image and its mirror image repeat with period 2 n
            source = source % (2 * n)
            source = np.minimum(source, 2 * n - 1 - source)
        inside = (source >= 0) & (source < n)
        np.add.at(matrix, (target[inside], source[inside]), weight)
    return matrix
