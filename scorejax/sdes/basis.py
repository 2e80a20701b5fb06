"""Orthogonal bases `U` in which a forward process is diagonal: `x = U m`, one coefficient for every mode `m_k`."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics.host_arrays import host_array
from scorejax.numerics.ranges import Count
from scorejax.numerics.trees import register_dataclass, static
from scorejax.sdes.axes import Axis

Shape: TypeAlias = tuple[Count, ...]
"""Of one example: its axes, the last of them channels; a single axis is one of space."""


@register_dataclass
@dataclass(frozen=True)
class Identity:
    """The basis of the classic processes: coordinates are modes, and no transform is compiled."""

    def to_modes(self, x: Array) -> Array:
        """Return `U^T x`, which is `x`."""
        return x

    def from_modes(self, modes: Array) -> Array:
        """Return `U modes`, which is `modes`."""
        return modes


@register_dataclass
@dataclass(frozen=True)
class Rotation:
    """An explicit orthogonal matrix acting on the flattened event.

    Attributes:
        matrix: `U`, `[D, D]`, columns are the modes; `D` is the product of the event shape.
    """

    matrix: Array | np.ndarray = host_array()

    def to_modes(self, x: Array) -> Array:
        """Return `U^T x` for `x [B, ...]`."""
        return self._multiply(x, jnp.asarray(self.matrix, x.dtype))

    def from_modes(self, modes: Array) -> Array:
        """Return `U modes` for `modes [B, ...]`."""
        return self._multiply(modes, jnp.asarray(self.matrix, modes.dtype).T)

    def _multiply(self, x: Array, matrix: Array) -> Array:
        if math.prod(x.shape[1:]) != matrix.shape[0]:
            raise ValueError(
                f"the basis of the process is a matrix of {matrix.shape[0]} modes, got examples of shape "
                f"{x.shape[1:]}, {math.prod(x.shape[1:])} numbers; make the process for these examples"
            )
        rows = x.reshape(x.shape[0], -1)
        return jnp.matmul(rows, matrix, precision=jax.lax.Precision.HIGHEST).reshape(x.shape)


@register_dataclass
@dataclass(frozen=True)
class DataModes:
    """The Karhunen-Loeve modes of a data set that is not known yet; `fit` makes a `Rotation` of it.

    Attributes:
        shape: of one example.
    """

    shape: tuple[int, ...] = static()

    def to_modes(self, x: Array) -> NoReturn:
        """Refuse: there are no modes yet."""
        raise ValueError(
            "the modes of a data set are known once they are fitted to it: sde = sde.fitted(sde.fit(examples))"
        )

    from_modes = to_modes

    def fit(self, examples: Array | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the matrix of the modes `[D, D]`, the strongest first, and their variances `[D]`.

        Args:
            examples: `[N, ...]`, finite floating numbers.

        Raises:
            ValueError: fewer than two examples, of another shape, or numbers that are not finite.
        """
        x = np.asarray(doors.points(examples, "examples", shape=(len(examples), *self.shape)), np.float64)
        if len(x) < 2:
            raise ValueError(f"the modes of a data set need at least two examples, got {len(x)}")
        values, modes = np.linalg.eigh(np.atleast_2d(np.cov(x.reshape(len(x), -1), rowvar=False)))
        return modes[:, ::-1], np.maximum(values[::-1], 0.0)


@register_dataclass
@dataclass(frozen=True)
class Separable:
    """A product of orthogonal bases, one for each axis: a matrix product along each, at the full precision of floats.

    It holds no arrays: its matrices are constants of the program, made from `axes`. Matrix products were faster than
    fast transforms for axes of up to 256 samples, and as fast at 512.

    Attributes:
        shape: of one example.
        axes: the basis of each of its axes.
    """

    shape: tuple[int, ...] = static()
    axes: tuple[Axis, ...] = static()

    def to_modes(self, x: Array) -> Array:
        """Return `U^T x` for `x [B, ...]`."""
        return self._multiply(x, transpose=False)

    def from_modes(self, modes: Array) -> Array:
        """Return `U modes` for `modes [B, ...]`."""
        return self._multiply(modes, transpose=True)

    def _multiply(self, x: Array, *, transpose: bool) -> Array:
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"the basis of the process is of examples of shape {self.shape}, got {x.shape[1:]}; make the process "
                f"for shape={','.join(map(str, x.shape[1:]))}"
            )
        for i, (axis, n) in enumerate(self.pairs()):
            if axis.name == "none":
                continue
            matrix = jnp.asarray(axis.matrix(n), x.dtype)
            product = jnp.tensordot(x, matrix, ((i + 1,), (int(transpose),)), precision=jax.lax.Precision.HIGHEST)
            x = jnp.moveaxis(product, -1, i + 1)
        return x

    def spread(self, values: Sequence[np.ndarray], combine: np.ufunc = np.multiply) -> np.ndarray:
        """Return one vector for each axis combined to a number for every mode, broadcastable to `shape`.

        Axes along which nothing changes get length one.
        """
        kept = [v if np.ptp(v) > 0 else v[:1] for v in values]
        ones = [(1,) * i + (-1,) + (1,) * (len(kept) - i - 1) for i in range(len(kept))]
        return functools.reduce(combine, [v.reshape(shape) for v, shape in zip(kept, ones, strict=True)])

    def squared_frequency(self) -> np.ndarray:
        """Return the sum over the axes of space of the squared angular frequency of every mode, as of `spread`."""
        each = [axis.spectrum(n) ** 2 if axis.name in WAVES else np.zeros(n) for axis, n in self.pairs()]
        return self.spread(each, np.add)

    def pairs(self) -> list[tuple[Axis, int]]:
        """Return the basis and the length of each axis."""
        return list(zip(self.axes, self.shape, strict=True))


Basis = Identity | Rotation | Separable | DataModes

WAVES = ("dct", "dst", "dft")
"""The bases of an axis whose modes have frequencies."""

LARGEST_MATRIX = 4096
"""Numbers in an example whose modes are a matrix: 128 MiB in float64."""
