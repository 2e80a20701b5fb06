"""Images that turn into something else: images of another set, or noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.degradations.base import Degradation, Drawn, at, per_example, times_of
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count
from scorejax.numerics.trees import register_dataclass, static
from scorejax.sdes.corruption import Time

_OFFSET = 0.008  # of the cosine schedule, so that the first steps are not too small


@dataclass(frozen=True, kw_only=True)
class Mixing(Degradation):
    """`D_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s) z`, the cosine schedule of improved DDPM; at the last level `z`.

    Attributes:
        estimate: whether `z` is what leads from a restoration to the point at hand, not what was drawn.
    """

    estimate: bool = static()

    @property
    def linear(self) -> bool:
        return False  # affine, by what is drawn

    @property
    def starts(self) -> bool:
        return True

    def infer(self, x: Array, x0: Array, t: Time, drawn: Array) -> Array:
        if not self.estimate:
            return drawn
        kept, mixed = self._shares(t, x0)
        return (x - kept * x0) / jnp.maximum(mixed, 1e-6)  # level 0 shows nothing of it

    def begin(self, keys: Array, x: Array) -> Array:
        """Return `x` itself, which is what was mixed in, at the last level."""
        return x

    def degrade(self, x0: Array, t: Time, drawn: Drawn) -> Array:
        if drawn.shape != x0.shape:
            raise ValueError(f"what is mixed in has shape {drawn.shape}, but examples have {x0.shape}")
        kept, mixed = self._shares(t, x0)
        return kept * x0 + mixed * drawn.astype(x0.dtype)

    def start(self, keys: Array, shape: tuple[int, ...]) -> Array:
        return self.draw(keys, shape)

    def _shares(self, t: Time, x: Array) -> tuple[Array, Array]:
        level = self.level(t)
        found = at(_shares(self.levels), level, x)
        return per_example(found[..., 0], level, x.ndim), per_example(found[..., 1], level, x.ndim)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Noise(Mixing):
    """Normal noise: diffusion as cold diffusion sees it (hot)."""

    def draw(self, keys: Array, shape: tuple[int, ...]) -> Array:
        return keys_lib.normal(keys, shape)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Animorph(Mixing):
    """Images of another set.

    Attributes:
        others: of the same shape as the examples, `[N, ...]`; None: not known, so that nothing can be drawn.
    """

    others: Array | np.ndarray | None

    @property
    def asks_for_data(self) -> bool:
        """Whether nothing is known yet to turn into."""
        return self.others is None

    def fit(self, examples: Array | np.ndarray) -> dict[str, np.ndarray]:
        """Return examples of the other set `[N, ...]`, in the units of the model, for `fitted`."""
        return {"others": np.asarray(examples, np.float32)}

    def fitted(self, arrays: Mapping[str, np.ndarray]) -> Self:
        return self.replace(**arrays)

    def draw(self, keys: Array, shape: tuple[int, ...]) -> Array:
        if self.others is None:
            raise ValueError(
                "animorph draws from images of another set: process = process.fitted(process.fit(others)), [N, ...]"
            )
        if tuple(self.others.shape[1:]) != tuple(shape[1:]):
            raise ValueError(f"animorph: the others have shape {self.others.shape[1:]}, but examples have {shape[1:]}")
        others = jnp.asarray(self.others, jnp.result_type(float))
        return others[jax.vmap(lambda key: jax.random.randint(key, (), 0, len(others)))(keys)]


def noise(*, levels: Count = 200, estimate: bool = True) -> Noise:
    """Return hot diffusion in levels: normal noise by the cosine schedule (Cold Diffusion, arXiv 2208.09392).

    With estimated noise, the corrected rule of `samplers.cold` is DDIM with eta 0; with the noise that a trajectory
    began with, it is the paper's fixed noise.

    Args:
        levels: how many.
        estimate: whether the noise at each step is what leads from the restoration to the point at hand.
    """
    return Noise(estimate=bool(estimate), **times_of(levels))


def animorph(*, levels: Count = 200, estimate: bool = False) -> Animorph:
    """Return images that turn into images of another set, by the cosine schedule (Cold Diffusion, arXiv 2208.09392).

    Args:
        levels: how many.
        estimate: whether the other image at each step is what leads from the restoration to the point at hand.
    """
    return Animorph(estimate=bool(estimate), others=None, **times_of(levels))


def _shares(levels: int) -> np.ndarray:
    """`sqrt(abar)` and `sqrt(1 - abar)` of every level, `[T + 1, 2]`: a cosine and a sine up to the offset."""
    angle = (np.arange(levels + 1) / levels + _OFFSET) / (1 + _OFFSET) * 0.5 * math.pi
    kept = np.cos(angle) / np.cos(angle[0])
    kept[-1] = 0.0
    return np.stack([kept, np.sqrt(1.0 - kept**2)], axis=1)
