"""What every degradation is: a family `D(x_0, s)` in levels, with everything that is random about it drawn at once."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypedDict

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import register_dataclass, static
from scorejax.sdes.corruption import Corruption, Time, as_time

Drawn: TypeAlias = Any
"""All that is random about a degradation, one for each example: a pytree whose leaves are `[B, ...]`."""


@dataclass(frozen=True, kw_only=True)
class Degradation(Corruption):
    """A forward process of cold diffusion (arXiv 2208.09392): `x_t = D(x_0, s; drawn)`, level `s` at time `s / T`.

    `D(x_0, 0) = x_0`, and all that is random is drawn once for a whole trajectory, so that the levels of one example
    belong together. No score undoes it: a network restores, see `samplers.cold`.

    A subclass writes `degrade`, and `draw` if something is random. Its numbers are part of compiled programs.

    Attributes:
        levels: their number T; level 0 is the data.
    """

    described: ClassVar[str] = "a degradation in levels, which a network restores"
    grid: ClassVar[str] = "levels"
    ends_at_data: ClassVar[bool] = True
    levels: int = static()

    @property
    def linear(self) -> bool:
        """Whether `D` is linear in `x_0` for every draw."""
        return True

    @property
    def starts(self) -> bool:
        """Whether the law at the last level is known without data, so that generation can begin there."""
        return False

    @abc.abstractmethod
    def degrade(self, x0: Array, t: Time, drawn: Drawn) -> Array:
        """Return `D(x0, t)` for `x0 [B, ...]`.

        Args:
            x0: the clean examples.
            t: their times, a scalar or `[B]`, which are rounded to levels.
            drawn: what `draw` returned.

        Raises:
            ValueError: examples that it does not fit.
        """

    def draw(self, keys: Array, shape: tuple[int, ...]) -> Drawn:
        """Draw all that is random, for examples of the shape `(B, ...)` with one key each; nothing by default."""
        return ()

    def infer(self, x: Array, x0: Array, t: Time, drawn: Drawn) -> Drawn:
        """Return what must have been drawn, given a point `x` at time `t` and its restoration `x0`; by default `drawn`.

        Of estimated noise it is the noise that leads from the one to the other.
        """
        return drawn

    def begin(self, keys: Array, x: Array) -> Drawn:
        """Return the draw of a trajectory back from points `x` of the last level: what they show, the rest anew."""
        return self.draw(keys, x.shape)

    def held(self, drawn: Drawn) -> Held:
        """Return the degradation with all that is random known, such as the masks of images that are to be restored."""
        return Held(of=self, drawn=drawn, levels=self.levels, t_min=self.t_min, t_max=self.t_max)

    def start(self, keys: Array, shape: tuple[int, ...]) -> Array:
        """Draw from the law at the last level, where it is known."""
        raise ValueError(
            f"{type(self).__name__.lower()}: the law of its last level is not known without data, so that it restores "
            "but does not generate; give x_init, degraded examples"
        )

    def prior_sample(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Draw from the law at the last level; `key` is one key or one per sample `[B]`.

        Raises:
            ValueError: the law is not known without data.
        """
        shape = doors.batch_shape(shape)
        return self.start(keys_lib.per_example(key, shape[0]), shape)

    def corrupt(self, key: Array, x0: Array, t: Time) -> Array:
        """Draw `x_t` given the data `x0 [B, ...]`; `key` is one key or one per example `[B]`.

        Raises:
            ValueError: times outside of [0, 1], or examples that it does not fit.
        """
        x0 = doors.points(x0)
        doors.times(t, 0.0, self.t_max, of=x0.shape)
        return self.degrade(x0, t, self.draw(keys_lib.per_example(key, len(x0)), x0.shape))

    def level(self, t: Time) -> Array:
        """Return the level `T t`, a whole number."""
        return jnp.round(as_time(t) * self.levels).astype(jnp.int32)

    def label(self, t: Array) -> Array:
        """Return `s - 1` for level `s`, the integer that published networks take."""
        return self.level(t).astype(jnp.result_type(float)) - 1.0

    def time_of(self, u: Array) -> Array:
        """Map `u` in [0, 1) to the time of one of the T levels."""
        return (jnp.minimum(jnp.floor(u * self.levels), self.levels - 1) + 1.0) / self.levels


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Held(Degradation):
    """A degradation whose draw is known.

    Attributes:
        of: the degradation.
        drawn: what was drawn.
    """

    of: Degradation
    drawn: Drawn

    @property
    def linear(self) -> bool:
        return self.of.linear

    @property
    def asks_for_data(self) -> bool:
        return self.of.asks_for_data

    @property
    def starts(self) -> bool:
        return self.of.starts

    def draw(self, keys: Array, shape: tuple[int, ...]) -> Drawn:
        return self.drawn

    def begin(self, keys: Array, x: Array) -> Drawn:
        return self.drawn

    def infer(self, x: Array, x0: Array, t: Time, drawn: Drawn) -> Drawn:
        return self.of.infer(x, x0, t, drawn)

    def degrade(self, x0: Array, t: Time, drawn: Drawn) -> Array:
        return self.of.degrade(x0, t, drawn)

    def start(self, keys: Array, shape: tuple[int, ...]) -> Array:
        return self.of.start(keys, shape)


class Times(TypedDict):
    """The fields that every degradation has."""

    levels: int
    t_min: float
    t_max: float


def times_of(levels: int) -> Times:
    """Return the fields that every degradation of so many levels has.

    Raises:
        ValueError: fewer than one.
    """
    if isinstance(levels, bool) or levels != int(levels) or levels < 1:
        raise ValueError(f"a degradation needs levels, a whole number of at least 1, got {levels}")
    return {"levels": int(levels), "t_min": 1.0 / int(levels), "t_max": 1.0}


def images(what: str, x0: Array) -> tuple[int, int, int]:
    """Return height, width and channels of images.

    Raises:
        ValueError: these are none.
    """
    if x0.ndim != 4:
        raise ValueError(f"{what} is of images [B, H, W, C], got examples of shape {tuple(x0.shape[1:])}")
    return x0.shape[1], x0.shape[2], x0.shape[3]


def at(table: np.ndarray, level: Array, x: Array) -> Array:
    """Return the rows of a table `[T + 1, ...]` at the levels, in the precision of `x`."""
    return jnp.asarray(np.array(table, dtype=np.dtype(x.dtype)))[level]


def per_example(values: Array, level: Array, ndim: int) -> Array:
    """Return numbers of each level, such that they broadcast against examples with `ndim` axes."""
    return values.reshape(values.shape + (1,) * (ndim - 1)) if level.ndim else values
