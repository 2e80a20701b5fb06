"""Blurs that are put one after the other, and in the end the mean of each channel."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy import fft as scipy_fft

from scorejax.degradations.base import Degradation, Drawn, at, images, times_of
from scorejax.degradations.channel_means import ChannelMeans
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, NonNegative, Positive
from scorejax.numerics.trees import register_dataclass, static
from scorejax.sdes.corruption import Time

Growth: TypeAlias = Literal["constant", "linear", "exponential"]
Boundary: TypeAlias = Literal["circular", "symmetric", "reflect"]
Last: TypeAlias = Literal["blur", "mean"]


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Blur(Degradation):
    """`D_s = G_s ... G_1` with a Gaussian kernel in each channel; the last level may be the mean of each channel.

    Attributes:
        kernel: pixels across a kernel.
        std: of the first kernel, in pixels.
        growth: how it grows from level to level.
        rate: by how much.
        boundary: how an image goes on beyond its edge.
        last: what the last level is.
        symmetry_noise: standard deviation of the noise in the images that generation begins with.
        components: Gaussians in the law of mean colors that is fitted to data.
        means: that law; None: not fitted yet.
    """

    kernel: int = static()
    std: float = static()
    growth: Growth = static()  # noqa: RUF009
    rate: float = static()
    boundary: Boundary = static()  # noqa: RUF009
    last: Last = static()  # noqa: RUF009
    symmetry_noise: float = static()
    components: int = static()
    means: ChannelMeans | None

    @property
    def starts(self) -> bool:
        return self.last == "mean"

    @property
    def asks_for_data(self) -> bool:
        """Whether images are to be drawn, whose mean colors must be fitted."""
        return self.starts and self.means is None

    def fit(self, examples: Array | np.ndarray) -> dict[str, np.ndarray]:
        """Return the law of the mean colors of images `[N, H, W, C]`, from which generation begins."""
        if not self.starts:
            return {}
        images("blur", jnp.asarray(examples[:1]))
        values = [np.asarray(part, np.float64).mean(axis=(1, 2)) for part in _parts(examples)]
        return ChannelMeans.fit(np.concatenate(values), self.components).arrays()

    def fitted(self, arrays: Mapping[str, np.ndarray]) -> Self:
        return self.replace(means=ChannelMeans(**arrays)) if arrays else self

    @property
    def stds(self) -> tuple[float, ...]:
        """The standard deviation of every kernel, in pixels."""
        steps = range(self.levels)
        if self.growth == "linear":
            return tuple(self.std + self.rate * i for i in steps)
        if self.growth == "exponential":
            return tuple(self.std * math.exp(self.rate * i) for i in steps)
        return (self.std,) * self.levels

    def degrade(self, x0: Array, t: Time, drawn: Drawn) -> Array:
        high, wide, _ = images("blur", x0)
        if self.kernel > min(high, wide):
            raise ValueError(
                f"blur: a kernel of {self.kernel} pixels is larger than images of {high}x{wide}; give an odd number of "
                f"at most {min(high, wide) - (min(high, wide) + 1) % 2}"
            )
        level = self.level(t)
        rows, columns = (
            at(_table(n, self.kernel, self.stds, self.boundary, self.last), level, x0) for n in (high, wide)
        )
        if self.boundary == "reflect":
            return separable(rows, columns, x0)
        gains = rows[..., :, None, None] * columns[..., None, :, None]
        if self.boundary == "symmetric":
            modes = scipy_fft.dctn(x0, axes=(1, 2), norm="ortho")
            return scipy_fft.idctn(gains * modes, axes=(1, 2), norm="ortho")
        modes = jnp.fft.rfft2(x0, axes=(1, 2))
        return jnp.fft.irfft2(gains[..., : wide // 2 + 1, :] * modes, s=(high, wide), axes=(1, 2)).astype(x0.dtype)

    def start(self, keys: Array, shape: tuple[int, ...]) -> Array:
        if not self.starts:
            return super().start(keys, shape)
        if self.means is None:
            raise ValueError(
                "blur: generation begins with mean colors of the data: fit them first, process = "
                "process.fitted(process.fit(examples))"
            )
        flat = jnp.broadcast_to(self.means.sample(keys)[:, None, None, :], shape)
        return flat + self.symmetry_noise * keys_lib.normal(keys_lib.fold_in(keys, 1), shape)


def blur(
    *,
    levels: Count = 20,
    kernel: Count = 11,
    std: Positive = 7.0,
    growth: Growth = "constant",
    rate: NonNegative = 0.01,
    boundary: Boundary = "circular",
    last: Last = "blur",
    symmetry_noise: NonNegative = 0.0,
    components: Count = 1,
) -> Blur:
    """Return blurs by Gaussian kernels, put one after the other (Cold Diffusion, arXiv 2208.09392).

    The defaults are those published for MNIST; `PUBLISHED` has the others.

    Args:
        levels: how many blurs.
        kernel: pixels across a kernel, odd; weights are the Gaussian at whole pixels, normalized.
        std: standard deviation of the first kernel, in pixels.
        growth: of the standard deviation of kernel `i` from 0: constant, std + rate i, or std exp(rate i).
        rate: of the growth.
        boundary: beyond its edge an image goes on with its other side (circular), its mirror image (symmetric), or its
            mirror image without the edge itself (reflect).
        last: the last level, a blur like the others, or the mean of each channel, from which images can be generated.
        symmetry_noise: standard deviation of noise in the mean colors that generation begins with, without which images
            of one color come from every start; 0.002 was published.
        components: Gaussians in the law of mean colors that is fitted to the data, which generation begins with.

    Raises:
        ValueError: an even kernel, or numbers that are none.
    """
    if kernel != int(kernel) or kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"blur: kernel must be an odd whole number, got {kernel}")
    if not (std > 0 and rate >= 0 and symmetry_noise >= 0):
        raise ValueError(
            f"blur needs std > 0, rate >= 0 and symmetry_noise >= 0, got {std}, {rate} and {symmetry_noise}"
        )
    for name, value, choices in (("growth", growth, Growth), ("boundary", boundary, Boundary), ("last", last, Last)):
        if value not in get_args(choices):
            raise ValueError(f"blur: {name} must be one of {', '.join(get_args(choices))}, got {value!r}")
    return Blur(
        kernel=int(kernel),
        std=float(std),
        growth=growth,
        rate=float(rate),
        boundary=boundary,
        last=last,
        symmetry_noise=float(symmetry_noise),
        components=int(components),
        means=None,
        **times_of(levels),
    )


# how the configs' variant `tiny` shrinks it
setattr(blur, "tiny", {"levels": 3, "kernel": 3})  # noqa: B010


def _parts(examples: Array | np.ndarray) -> Iterator[Array | np.ndarray]:
    """Some thousand examples at a time."""
    for first in range(0, len(examples), 4096):
        yield examples[first : first + 4096]


def separable(rows: Array, columns: Array, x: Array) -> Array:
    """Return `rows x columns^T` for images `x [B, H, W, C]` and matrices `[H', H]`, or one for each image."""
    batch = "b" * (rows.ndim == 3)
    return jnp.einsum(f"{batch}ih,{batch}jw,bhwc->bijc", rows, columns, x, precision=lax.Precision.HIGHEST)


@functools.lru_cache(maxsize=64)
def _table(n: int, kernel: int, stds: tuple[float, ...], boundary: Boundary, last: Last) -> np.ndarray:
    """Of every level along an axis of `n` pixels, what all blurs up to it make together, in float64.

    Eigenvalues `[T + 1, n]` in the waves of the boundary, or matrices `[T + 1, n, n]` where it has none.
    """
    offsets = np.arange(kernel) - kernel // 2
    weights = np.exp(-0.5 * (offsets / np.asarray(stds)[:, None]) ** 2)
    weights /= weights.sum(1, keepdims=True)
    if boundary == "reflect":
        steps = [_reflecting(n, offsets, each) for each in weights]
        cumulative = [np.eye(n)]
        for step in steps:
            cumulative.append(step @ cumulative[-1])
        table, mean = np.stack(cumulative), np.full((n, n), 1.0 / n)
    else:
        wave = (2.0 if boundary == "circular" else 1.0) * np.pi * np.outer(offsets, np.arange(n)) / n
        table = np.cumprod(np.concatenate([np.ones((1, n)), weights @ np.cos(wave)]), axis=0)
        mean = np.eye(n)[0]
    if last == "mean":
        table[-1] = mean
    return table


def _reflecting(n: int, offsets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The matrix of a kernel where an image goes on with its mirror image, without the pixel of the edge."""
    matrix = np.zeros((n, n))
    for offset, weight in zip(offsets, weights, strict=True):
        place = np.abs(np.arange(n) + offset)
        place = np.minimum(place, 2 * (n - 1) - place) if n > 1 else np.zeros(n, int)
        np.add.at(matrix, (np.arange(n), place), weight)
    return matrix
