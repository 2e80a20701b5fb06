"""Snow that falls ever thicker, as in ImageNet-C."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.degradations.base import Degradation, Drawn, at, images, per_example, times_of
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Positive, Share
from scorejax.numerics.trees import register_dataclass, static
from scorejax.sdes.corruption import Time

_MEAN, _STD, _ZOOM = 0.55, 0.3, 2.5  # of the layer, before it is cut at the threshold
_FIRST_THRESHOLD, _FIRST_STD, _FIRST_BRIGHTNESS = 1.15, 0.05, 0.95
_RADIUS = 10  # pixels to which flakes are drawn out, to each side


class Layer(NamedTuple):
    """The flakes of an image before they are cut and drawn out.

    Attributes:
        depth: `[B, H, W]`.
        angle: in which direction they fall, in radians `[B]`.
    """

    depth: Array
    angle: Array


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Snow(Degradation):
    """`clip(b x + (1 - b) max(x, 1.5 gray + 0.5) + layer + layer turned by half, 0, 1)`; not linear, for the clip.

    Attributes:
        threshold: above which the layer is snow, at the last level.
        std: of the motion of flakes, in pixels, at the last level.
        brightness: `b` at the last level; 1: at all of them.
        data_range: the interval that images lie in.
    """

    threshold: float = static()
    std: float = static()
    brightness: float = static()
    data_range: tuple[float, float] = static()

    @property
    def linear(self) -> bool:
        return False

    def draw(self, keys: Array, shape: tuple[int, ...]) -> Layer:
        high, wide, _ = images("snow", jax.ShapeDtypeStruct(shape, float))  # pyright: ignore[reportArgumentType]
        few = max(1, round(high / _ZOOM)), max(1, round(wide / _ZOOM))
        depth = _MEAN + _STD * keys_lib.normal(keys_lib.fold_in(keys, 1), (len(keys), *few))
        depth = jax.image.resize(depth, (len(keys), high, wide), "linear")
        angle = np.pi * (0.25 + 0.5 * keys_lib.uniform(keys_lib.fold_in(keys, 2), keys.shape))
        return Layer(depth, angle)

    def degrade(self, x0: Array, t: Time, drawn: Drawn) -> Array:
        images("snow", x0)
        level = self.level(t)
        low, up = self.data_range
        x = (x0 - low) / (up - low)
        cut, std, bright = (at(row, level, x0) for row in self._tables())
        flakes = drawn.depth >= per_example(cut, level, 3)
        snow = jnp.where(flakes, jnp.clip(drawn.depth, 0.0, 1.0), 0.0).astype(x.dtype)
        snow = jnp.clip(_drawn_out(snow, drawn.angle.astype(x.dtype), std), 0.0, 1.0)
        bright = per_example(bright, level, 4)
        gray = jnp.mean(x, axis=-1, keepdims=True)
        x = bright * x + (1.0 - bright) * jnp.maximum(x, 1.5 * gray + 0.5)
        x = x + (snow + snow[:, ::-1, ::-1])[..., None]
        found = low + (up - low) * jnp.clip(x, 0.0, 1.0)
        return jnp.where((level == 0).reshape((-1, 1, 1, 1) if level.ndim else ()), x0, found)

    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Threshold, motion and brightness of every level."""
        share = (np.arange(self.levels + 1) - 1.0) / max(self.levels - 1, 1)
        share = np.ones(2) if self.levels == 1 else share

        def between(first: float, last: float, clean: float) -> np.ndarray:
            return np.concatenate([[clean], (first + (last - first) * share)[1:]])

        return (
            between(_FIRST_THRESHOLD, self.threshold, 1e3),
            between(_FIRST_STD, self.std, _FIRST_STD),
            between(1.0 if self.brightness == 1.0 else _FIRST_BRIGHTNESS, self.brightness, 1.0),
        )


def snow(
    *,
    levels: Count = 200,
    threshold: Positive = 0.7,
    std: Positive = 16.0,
    brightness: Share = 1.0,
    data_range: tuple[float, float] = (-1.0, 1.0),
) -> Snow:
    """Return snow that falls ever thicker (Cold Diffusion, arXiv 2208.09392; Hendrycks & Dietterich, 1903.12261).

    A layer of normal noise is enlarged and cut at a threshold that falls from 1.15, drawn out in the direction of the
    fall, and laid over the image together with itself turned by 180 degrees. The layer goes on with its other side
    beyond the edge.

    Args:
        levels: how many.
        threshold: at the last level; 0.7 and 0.55 were published for two strengths.
        std: of the motion of flakes at the last level, in pixels; 16 and 20.
        brightness: share of the image that is not whitened, at the last level; 1: of all levels.
        data_range: the interval that images lie in.

    Raises:
        ValueError: numbers that are none.
    """
    if not (threshold > 0 and std > 0 and 0 <= brightness <= 1):
        raise ValueError(
            f"snow needs threshold > 0, std > 0 and brightness in [0, 1], got {threshold}, {std} and {brightness}"
        )
    low, high = doors.interval(data_range, "snow: data_range")
    return Snow(
        threshold=float(threshold),
        std=float(std),
        brightness=float(brightness),
        data_range=(float(low), float(high)),
        **times_of(levels),
    )


def _drawn_out(layer: Array, angle: Array, std: Array) -> Array:
    """Each layer `[B, H, W]` smoothed by a Gaussian along a line, wave by wave, so that the angle may be any."""
    high, wide = layer.shape[1:]
    along = jnp.arange(-_RADIUS, _RADIUS + 1, dtype=layer.dtype)
    weights = jnp.exp(-0.5 * (along / std.reshape(-1, 1)) ** 2)
    weights = weights / jnp.sum(weights, axis=1, keepdims=True)
    rows, columns = jnp.fft.fftfreq(high).astype(layer.dtype), jnp.fft.rfftfreq(wide).astype(layer.dtype)
    phase = jnp.sin(angle)[:, None, None] * rows[:, None] + jnp.cos(angle)[:, None, None] * columns
    gains = jnp.sum(weights[..., None, None] * jnp.cos(2 * np.pi * along[:, None, None] * phase[:, None]), axis=1)
    return jnp.fft.irfft2(gains * jnp.fft.rfft2(layer), s=(high, wide)).astype(layer.dtype)
