"""Holes that grow, dark or of one color."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.signal import fftconvolve

from scorejax.degradations.base import Degradation, Drawn, at, images, times_of
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Positive
from scorejax.numerics.trees import register_dataclass, static
from scorejax.sdes.corruption import Time

Center: TypeAlias = Literal["image", "random"]
Fill: TypeAlias = Literal["zero", "color"]
_PIXEL, _ROUNDING = 0.5, 1e-4  # variance of a pixel of centered images, and of its rounding


class Hole(NamedTuple):
    """Where a hole is, and what shows through it.

    Attributes:
        center: row and column of the pixel in its middle, whole numbers `[B, 2]`.
        color: of each channel, `[B, C]`.
    """

    center: Array
    color: Array


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Inpaint(Degradation):
    """`D_s = M_s x + (1 - M_s) color`, `M_s` the product of `1 - exp(-r^2 / 2 (width (i + first))^2)` over `i < s`.

    Attributes:
        width: by how many pixels the hole grows in each level.
        first: the width of the first mask, in units of `width`.
        center: where the hole is.
        fill: what shows through it.
        data_range: the interval that colors are drawn from.
    """

    width: float = static()
    first: float = static()
    center: Center = static()  # noqa: RUF009
    fill: Fill = static()  # noqa: RUF009
    data_range: tuple[float, float] = static()

    @property
    def linear(self) -> bool:
        return self.fill == "zero"  # affine where a color shows

    @property
    def starts(self) -> bool:
        return self.fill == "color"

    def draw(self, keys: Array, shape: tuple[int, ...]) -> Hole:
        high, wide, channels = images("inpaint", jax.ShapeDtypeStruct(shape, float))  # pyright: ignore[reportArgumentType]
        size = jnp.array([high, wide])
        center = jnp.broadcast_to(size // 2, (len(keys), 2))
        if self.center == "random":
            place = keys_lib.uniform(keys_lib.fold_in(keys, 1), (len(keys), 2))
            center = jnp.minimum((place * size).astype(jnp.int32), size - 1)
        color = jnp.zeros((len(keys), channels))
        if self.fill == "color":
            low, up = self.data_range
            color = low + (up - low) * keys_lib.uniform(keys_lib.fold_in(keys, 2), (len(keys), channels))
        return Hole(center, color)

    def begin(self, keys: Array, x: Array) -> Hole:
        """Return the hole in images of the last level: its color where it has one, and its likeliest place."""
        drawn = self.draw(keys, x.shape)
        if self.fill == "color":  # the last level shows nothing else
            return drawn._replace(color=jnp.mean(x, axis=(1, 2)))
        return drawn._replace(center=self._likeliest(x)) if self.center == "random" else drawn

    def degrade(self, x0: Array, t: Time, drawn: Drawn) -> Array:
        level = self.level(t)
        mask = self._masks(level, drawn.center, x0)
        if self.fill == "zero":
            return mask * x0
        mask = jnp.where((level == self.levels).reshape(-1, 1, 1, 1), 0.0, mask)
        return mask * x0 + (1.0 - mask) * drawn.color[:, None, None, :].astype(x0.dtype)

    def start(self, keys: Array, shape: tuple[int, ...]) -> Array:
        if not self.starts:
            return super().start(keys, shape)
        return jnp.broadcast_to(self.draw(keys, shape).color[:, None, None, :], shape)

    def _masks(self, level: Array, center: Array, x: Array) -> Array:
        """What is seen of each image at its level, `[B, H, W, 1]`."""
        high, wide, _ = images("inpaint", x)
        seen, index = _profile(max(high, wide), self.levels, self.width, self.first)
        rows = (jnp.arange(high) - center[:, :1]) ** 2
        columns = (jnp.arange(wide) - center[:, 1:]) ** 2
        place = jnp.asarray(np.array(index))[rows[:, :, None] + columns[:, None, :]]
        of_level = at(seen, level, x)
        masks = of_level[place] if level.ndim == 0 else jax.vmap(lambda row, i: row[i])(of_level, place)
        return masks[..., None]

    def _likeliest(self, x: Array) -> Array:
        """The center of the hole that images of the last level most likely have, `[B, 2]`.

        Of pixels that are normal, seen through a mask `M` and rounded, each is `N(0, M^2 v + q)`; the sum of the log
        densities is a convolution.
        """
        high, wide, _ = images("inpaint", x)
        seen, index = _profile(max(high, wide), self.levels, self.width, self.first)
        rows, columns = np.arange(1 - high, high) ** 2, np.arange(1 - wide, wide) ** 2
        variance = seen[-1][index[rows[:, None] + columns]] ** 2 * _PIXEL + _ROUNDING
        free = _PIXEL + _ROUNDING  # of a pixel far from the hole
        precision, log = 1.0 / variance - 1.0 / free, np.log(variance / free)

        def around(values: Array, kernel: np.ndarray) -> Array:
            weights = jnp.asarray(kernel.astype(np.dtype(x.dtype)))
            full = jax.vmap(lambda one: fftconvolve(one, weights))(values)
            return full[:, high - 1 : 2 * high - 1, wide - 1 : 2 * wide - 1]

        squares = jnp.mean(x**2, axis=-1)
        surprise = around(squares, precision) + around(jnp.ones_like(squares[:1]), log)
        place = jnp.argmin(surprise.reshape(len(x), -1), axis=1)
        return jnp.stack([place // wide, place % wide], axis=1)


def inpaint(
    *,
    levels: Count = 50,
    width: Positive = 0.1,
    first: Positive = 1.0,
    center: Center = "random",
    fill: Fill = "zero",
    data_range: tuple[float, float] = (-1.0, 1.0),
) -> Inpaint:
    """Return holes that grow from level to level (Cold Diffusion, arXiv 2208.09392).

    The defaults are those published for MNIST and CIFAR-10; `PUBLISHED` has the others.

    Args:
        levels: how many masks are put one upon the other.
        width: pixels by which the standard deviation of the masks grows in each level.
        first: the standard deviation of the first mask, in units of `width`.
        center: in the middle of the image, or at a random pixel.
        fill: what shows through: zero, in the middle of the range of centered images; or a random color, which is all
            that the last level shows, so that images can be generated from it.
        data_range: the interval that colors are drawn from.

    Raises:
        ValueError: widths that are not positive, or a word that is no choice.
    """
    if not (width > 0 and first > 0):
        raise ValueError(f"inpaint needs width > 0 and first > 0, got {width} and {first}")
    for name, value, choices in (("center", center, Center), ("fill", fill, Fill)):
        if value not in get_args(choices):
            raise ValueError(f"inpaint: {name} must be one of {', '.join(get_args(choices))}, got {value!r}")
    low, high = doors.interval(data_range, "inpaint: data_range")
    return Inpaint(
        width=float(width),
        first=float(first),
        center=center,
        fill=fill,
        data_range=(float(low), float(high)),
        **times_of(levels),
    )


@functools.lru_cache(maxsize=16)
def _profile(n: int, levels: int, width: float, first: float) -> tuple[np.ndarray, np.ndarray]:
    """What is seen at every squared distance that occurs, `[T + 1, K]`, and the place of each whole number there."""
    squares = np.arange(n) ** 2
    distances, _ = np.unique(squares[:, None] + squares[None, :], return_inverse=True)
    index = np.zeros(distances[-1] + 1, np.int32)
    index[distances] = np.arange(len(distances))
    widths = width * (np.arange(levels) + first)
    masks = -np.expm1(-0.5 * distances[None, :] / widths[:, None] ** 2)
    return np.concatenate([np.ones((1, len(distances))), np.cumprod(masks, axis=0)]), index
