"""Examples moved and bent at random in training, and labels that say how: the network is given them, and draws none.

A model that is trained on mirrored images draws mirrored ones. One that is given a label of what was done to each
image, and zeros when it draws, learns from all and draws none: the augmentation does not leak (Karras et al., arXiv
2006.06676; as a condition of diffusion models arXiv 2206.00364, appendix F.2).
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.ndimage import map_coordinates

from scorejax.numerics.ranges import Natural, Share

Beyond: TypeAlias = Literal["mirror", "circular"]


class Augmentation(abc.ABC):
    """A random change of examples `[B, *sides, C]`, with labels that say what was changed; zeros for nothing."""

    labeled: bool

    def count(self, shape: tuple[int, ...]) -> int:
        """Return how many labels examples of this shape have; 0 if the network is not given any.

        Raises:
            ValueError: nothing of this kind can be done to them.
        """
        count = self._count(shape)  # refuses what cannot be changed, with labels or without
        return count if self.labeled else 0

    @abc.abstractmethod
    def _count(self, shape: tuple[int, ...]) -> int:
        """The same for a network that is given them."""

    @abc.abstractmethod
    def __call__(self, keys: Array, x: Array) -> tuple[Array, Array]:
        """Return changed examples `[B, *sides, C]` and their labels `[B, n]`, each by its own key."""


def none() -> None:
    """Examples as they are."""


@dataclass(frozen=True)
class Affine(Augmentation):
    """Mirrored, scaled, turned, stretched and shifted, each with a small probability, with labels (EDM).

    Along the last side examples are always mirrored with probability 1/2; all else is drawn with the given probability:
    mirrored along every other side; scaled by `2^(0.2 z)`; turned by any angle; stretched by `2^(0.2 z)` in a random
    direction and shrunk by as much across it (images alone); shifted by `z / 8` of each side, `z` normal. The labels
    of an image are 9: one for each side that is mirrored, z of the scale, `(cos - 1, sin)` of the angle, `z (cos, sin)`
    of the stretch, and both z of the shift. Those of a series are 3, without angles; those of a volume 11, with the
    quaternion of the turn, less 1. What is moved lies between pixels and is found by linear interpolation; an example
    that is only mirrored, or not moved, keeps its numbers.

    Attributes:
        probability: of each change.
        labeled: false: no labels, so that samples are changed as well.
        beyond: what is seen beyond the edges: the example mirrored, or its other side (circular).
    """

    probability: Share = 0.12
    labeled: bool = True
    beyond: Beyond = "mirror"

    def _count(self, shape: tuple[int, ...]) -> int:
        counts = {2: 3, 3: 9, 4: 11}
        if len(shape) not in counts:
            raise ValueError(
                f"examples of shape {shape} have no sides to be mirrored and turned along: augmentation is for series, "
                "images and volumes"
            )
        return counts[len(shape)]

    def __call__(self, keys: Array, x: Array) -> tuple[Array, Array]:
        return jax.vmap(self._one)(keys, x)

    def _one(self, key: Array, x: Array) -> tuple[Array, Array]:
        sides = x.shape[:-1]
        d = len(sides)
        chance, normal, angle = jax.random.split(key, 3)
        # in the order of the labels: mirrored along each side, the last one first; scale; turn; stretch; shift
        happens = jax.random.uniform(chance, (d + 4,)) < self.probability
        z = jax.random.normal(normal, (d + 8,))
        u = jax.random.uniform(angle, (d + 2,), minval=-1.0)
        mirrored = (u[:d] > 0) & happens[:d].at[0].set(True)
        for i in range(d):
            x = jnp.where(mirrored[i], jnp.flip(x, d - 1 - i), x)
        scale, turn, stretch, shift = happens[d:]
        size = jnp.where(scale, z[0], 0.0)
        moved = jnp.where(shift, z[1 : 1 + d], 0.0)
        labels = [mirrored.astype(x.dtype), size[None]]
        back = jnp.eye(d) * 2.0 ** (-0.2 * size)  # from where a pixel lies to where its number was
        if d == 2:
            alpha, beta = jnp.where(turn, math.pi * u[2], 0.0), math.pi * u[3]
            bent = jnp.where(stretch, z[3], 0.0)
            across = jnp.diag(2.0 ** (0.2 * bent * jnp.array([-1.0, 1.0])))
            back = _product(back, _turn(-alpha), _turn(beta), across, _turn(-beta))
            labels += [_circle(alpha) - jnp.array([1.0, 0.0]), bent * _circle(beta)]
        elif d == 3:
            q = jnp.where(turn, z[4:8] / jnp.linalg.norm(z[4:8]), jnp.array([1.0, 0.0, 0.0, 0.0]))
            q = jnp.where(q[0] < 0, -q, q)  # the same turn
            back = _product(back, _rotation(q).T)
            labels.append(q - jnp.array([1.0, 0.0, 0.0, 0.0]))
        labels.append(moved)
        still = ~jnp.any(jnp.stack([scale, shift, turn, stretch][: {1: 2, 2: 4, 3: 3}[d]]))
        # Coordinates are counted from the last side, as x and y are.
        center = jnp.array([(side - 1) / 2.0 for side in sides])
        grid = jnp.stack(jnp.meshgrid(*(jnp.arange(side, dtype=x.dtype) for side in sides), indexing="ij"), axis=-1)
        place = (grid - center)[..., ::-1] - 0.125 * moved * jnp.array(sides[::-1], x.dtype)
        place = _product(place, back.T)[..., ::-1] + center
        mode = "mirror" if self.beyond == "mirror" else "wrap"
        found = functools.partial(map_coordinates, order=1, mode=mode)
        warped = jax.vmap(found, in_axes=(-1, None), out_axes=-1)(x, list(jnp.moveaxis(place, -1, 0)))
        return jnp.where(still, x, warped), jnp.concatenate(labels)


@dataclass(frozen=True)
class Rolls(Augmentation):
    """Fields around circles, rolled by any number of pixels; without labels for fields to which all places are alike.

    The labels are `(cos - 1, sin)` of the angle of the roll, for each side.

    Attributes:
        axes: sides that are rolled, counted from 0; none: all.
        probability: of a roll, for each side.
        labeled: whether the network is given labels, for fields whose places differ.
    """

    axes: tuple[Natural, ...] | None = None
    probability: Share = 1.0
    labeled: bool = False

    def _count(self, shape: tuple[int, ...]) -> int:
        sides = len(shape) - 1
        if not sides or max(self.axes or (0,)) >= sides:
            raise ValueError(
                f"examples of shape {shape} have {sides} sides, and are to be rolled along "
                f"{'all' if self.axes is None else ', '.join(map(str, self.axes))}"
            )
        return 2 * len(range(sides) if self.axes is None else self.axes)

    def __call__(self, keys: Array, x: Array) -> tuple[Array, Array]:
        return jax.vmap(self._one)(keys, x)

    def _one(self, key: Array, x: Array) -> tuple[Array, Array]:
        axes = tuple(range(x.ndim - 1)) if self.axes is None else self.axes
        sides = jnp.array([x.shape[axis] for axis in axes])
        chance, where = jax.random.split(key)
        happens = jax.random.uniform(chance, (len(axes),)) < self.probability
        by = jnp.where(happens, jax.random.randint(where, (len(axes),), 0, sides), 0)
        angle = 2.0 * math.pi * by / sides
        labels = jnp.stack([jnp.cos(angle) - 1.0, jnp.sin(angle)], axis=1).ravel()
        return jnp.roll(x, by, axes), labels


AUGMENTATIONS: Mapping[str, Callable[..., Any]] = {"none": none, "edm": Affine, "rolls": Rolls}
"""Augmentations by name."""


def _product(*matrices: Array) -> Array:
    """Their product, in full precision on every device: these are coordinates."""
    return functools.reduce(functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST), matrices)


def _circle(angle: Array) -> Array:
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def _turn(angle: Array) -> Array:
    """The matrix of a turn of the plane."""
    c, s = _circle(angle)
    return jnp.array([[c, -s], [s, c]])


def _rotation(q: Array) -> Array:
    """The matrix of the turn of a unit quaternion `(w, x, y, z)`."""
    w, v = q[0], q[1:]
    zero = jnp.zeros(())
    cross = jnp.array([[zero, -v[2], v[1]], [v[2], zero, -v[0]], [-v[1], v[0], zero]])
    return jnp.eye(3) + 2.0 * w * cross + 2.0 * _product(cross, cross)
