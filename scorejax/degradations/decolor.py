"""Images that lose their color."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from scorejax.degradations.base import Degradation, Drawn, images, per_example, times_of
from scorejax.numerics.ranges import Count
from scorejax.numerics.trees import register_dataclass
from scorejax.sdes.corruption import Time


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Decolor(Degradation):
    """`D_s = f_s I + (1 - f_s) 1 1^T / C` in the channels, with `f_s = 1 - s / T`."""

    def degrade(self, x0: Array, t: Time, drawn: Drawn) -> Array:
        _, _, channels = images("decolor", x0)
        if channels < 2:
            raise ValueError("decolor: images of one channel have no color to lose; give images of 3 channels")
        level = self.level(t)
        kept = per_example(1.0 - level.astype(x0.dtype) / self.levels, level, x0.ndim)
        return kept * x0 + (1.0 - kept) * jnp.mean(x0, axis=-1, keepdims=True)


def decolor(*, levels: Count = 20) -> Decolor:
    """Return images that lose their color evenly, until all channels are their mean (Cold Diffusion, 2208.09392).

    Args:
        levels: in how many steps.
    """
    return Decolor(**times_of(levels))
