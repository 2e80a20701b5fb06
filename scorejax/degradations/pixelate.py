"""Images with ever fewer pixels, shown at their old size: super-resolution."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from jax import Array

from scorejax.degradations.base import Degradation, Drawn, at, images, times_of
from scorejax.degradations.blur import separable
from scorejax.numerics.ranges import Count
from scorejax.numerics.trees import register_dataclass, static
from scorejax.sdes.corruption import Time

Method: TypeAlias = Literal["cubic", "mean"]
_CUBIC = -0.75  # the parameter of the cubic kernel, as in published code


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Pixelate(Degradation):
    """`D_s`: resized to `n / 2^s` pixels, and back by the nearest.

    Attributes:
        method: how images are made smaller.
    """

    method: Method = static()  # noqa: RUF009

    def degrade(self, x0: Array, t: Time, drawn: Drawn) -> Array:
        high, wide, _ = images("pixelate", x0)
        if min(high, wide) >> self.levels < 1:
            raise ValueError(
                f"pixelate: {self.levels} halvings leave no pixel of images of {high}x{wide}; take at most "
                f"{min(high, wide).bit_length() - 1} levels"
            )
        level = self.level(t)
        rows, columns = (at(_table(n, self.levels, self.method), level, x0) for n in (high, wide))
        return separable(rows, columns, x0)


def pixelate(*, levels: Count = 3, method: Method = "cubic") -> Pixelate:
    """Return images of half as many pixels a side in each level (Cold Diffusion, arXiv 2208.09392).

    Published with 3 levels for images of 28 and 32 pixels, and 4 for 128.

    Args:
        levels: how many halvings.
        method: each image is resized at once, by cubic interpolation without smoothing, or by means over blocks.

    Raises:
        ValueError: an unknown method.
    """
    if method not in get_args(Method):
        raise ValueError(f"pixelate: method must be one of {', '.join(get_args(Method))}, got {method!r}")
    return Pixelate(method=method, **times_of(levels))


@functools.lru_cache(maxsize=16)
def _table(n: int, levels: int, method: Method) -> np.ndarray:
    """The matrix of every level along an axis of `n` pixels, `[T + 1, n, n]`."""
    down = {"cubic": _cubic, "mean": _mean}[method]
    found = [np.eye(n)]
    for level in range(1, levels + 1):
        few = n >> level
        nearest = np.minimum(((np.arange(n) + 0.5) * few / n).astype(int), few - 1)
        found.append(down(n, few)[nearest])
    return np.stack(found)


def _cubic(n: int, few: int) -> np.ndarray:
    """Cubic convolution at `few` places, each from the four pixels around it; edges are repeated."""
    place = (np.arange(few) + 0.5) * n / few - 0.5
    matrix, a = np.zeros((few, n)), _CUBIC
    for offset in range(-1, 3):
        pixel = np.floor(place).astype(int) + offset
        d = np.abs(place - pixel)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * (d**3 - 5 * d**2 + 8 * d - 4)
        np.add.at(matrix, (np.arange(few), np.clip(pixel, 0, n - 1)), np.where(d <= 1, near, far))
    return matrix


def _mean(n: int, few: int) -> np.ndarray:
    """Means over the part of the axis that each of the few pixels covers."""
    edges = np.arange(few + 1) * n / few
    pixels = np.arange(n)
    inside = np.minimum(edges[1:, None], pixels + 1.0) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(inside, 0.0) * few / n
