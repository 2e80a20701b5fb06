"""Model space: where a model sees the data, and the one mapping between it and the units of the user.

Images are gray levels `k`, seen at `(k + u) / L` or `2 (k + u) / L - 1` (`scorejax.likelihood.gray_levels`). Numbers of
other kinds are seen by maps of their channels (`scorejax.data.channels`). Each has a volume: a density of model space
times the volume of the user's unit cell (a gray level in every pixel, or 1 in every column) is a density in the user's
units,

    log p(user) = log p(model) + log volume,   bits/dim = -log p(user) / (D log 2).

Examples go from the user to the model in two steps: `encode` on the host makes what is sent to the device, and
`to_model` on the device the rest. They come back by `to_host` on the device and `decode` on the host, or at once by
`from_model`, in the precision of the device.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from scorejax.likelihood import gray_levels as levels_lib

_BLOCK = 2**16  # rows in memory as float64 at a time


class Space(abc.ABC):
    """The mapping between the user's units and model space."""

    gray_levels: int | None = None
    """Number of gray levels of images that are seen as such; None for all else."""
    interval: tuple[float, float] | None = None
    """The interval of model space that every value lies in; None for vectors, which have no bounds."""

    def encode(self, examples: np.ndarray, what: str = "x") -> np.ndarray:
        """Return what is sent to the device of examples `[B, ...]` in the user's units, on the host.

        Raises:
            ValueError: a value that the model knows no probability of; the message calls the examples `what`.
        """
        return np.asarray(examples)

    def encode_traced(self, examples: Array) -> Array:
        """Return the same inside a compiled program, in the precision of its arrays."""
        return examples

    def decode(self, found: np.ndarray) -> np.ndarray:
        """Return what `to_host` handed over in the units and the type of the user, on the host."""
        return np.asarray(found)

    def log_volumes(self, x: Array) -> Array:
        """Return the log of the volume of the user's unit cell at points `x [B, ...]` of model space, `[B]`."""
        return jnp.full(len(x), self.log_volume(math.prod(x.shape[1:])))

    @abc.abstractmethod
    def to_model(self, keys: Array | None, raw: Array) -> Array:
        """Return examples `[B, ...]`, as `encode` made them, in model space; `keys [B]` draw places within levels."""

    @abc.abstractmethod
    def middle(self, raw: Array) -> Array:
        """Return examples `[B, ...]`, as `encode` made them, in model space, levels at the middle of their bin."""

    @abc.abstractmethod
    def from_model(self, x: Array) -> Array:
        """Return points of model space in the user's units, such as the gray level whose bin they lie in."""

    def to_host(self, x: Array) -> Array:
        """Return points of model space as a compiled program hands them to `decode`."""
        return self.from_model(x)

    @abc.abstractmethod
    def log_volume(self, dimension: int) -> float:
        """Return the log of the volume, in model space, of the user's unit cell in `dimension` coordinates."""

    def bin_width(self, dimension: int) -> float:
        """Return the side of that cell: the width of a gray level, or of the user's unit in the geometric mean."""
        return math.exp(self.log_volume(dimension) / dimension)


@dataclass(frozen=True)
class GrayLevels(Space):
    """Images of gray levels.

    Attributes:
        gray_levels: how many levels there are.
        centered: model space is [-1, 1) instead of [0, 1).
        dequantize: `to_model` draws `u` instead of taking the middle of the bin.
    """

    gray_levels: int
    centered: bool = True
    dequantize: bool = True

    @property
    def interval(self) -> tuple[float, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (-1.0, 1.0) if self.centered else (0.0, 1.0)

    def to_model(self, keys: Array | None, raw: Array) -> Array:
        how = {"centered": self.centered, "dequantize": self.dequantize}
        return levels_lib.to_model(keys, raw, self.gray_levels, **how)

    def middle(self, raw: Array) -> Array:
        return levels_lib.to_model(None, raw, self.gray_levels, centered=self.centered, dequantize=False)

    def from_model(self, x: Array) -> Array:
        return levels_lib.to_levels(x, self.gray_levels, centered=self.centered)

    def log_volume(self, dimension: int) -> float:
        return dimension * math.log(levels_lib.bin_width(self.gray_levels, centered=self.centered))

    def bin_width(self, dimension: int) -> float:
        return levels_lib.bin_width(self.gray_levels, centered=self.centered)


@dataclass(frozen=True)
class Vectors(Space):
    """Vectors, shifted and scaled column by column: `(x - shift) / scale`.

    Attributes:
        shift: one number for each column, or 0 for all.
        scale: one positive number for each column, or 1 for all.
    """

    shift: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)

    def to_model(self, keys: Array | None, raw: Array) -> Array:
        return self.middle(raw)

    def middle(self, raw: Array) -> Array:
        raw = jnp.asarray(raw)
        return (raw - jnp.asarray(self.shift, raw.dtype)) / jnp.asarray(self.scale, raw.dtype)

    def from_model(self, x: Array) -> Array:
        return x * jnp.asarray(self.scale, x.dtype) + jnp.asarray(self.shift, x.dtype)

    def log_volume(self, dimension: int) -> float:
        logs = np.log(np.broadcast_to(np.asarray(self.scale, np.float64), (dimension,)))
        return -math.fsum(logs)


def standardizing(examples: np.ndarray) -> Vectors:
    """Return the space in which every column of `examples [N, D]` has mean 0 and standard deviation 1.

    Computed in float64, and rounded to float32, in which the mapping is computed. A constant column keeps its scale.
    """
    mean, variance = moments(examples)
    scale = np.sqrt(variance).astype(np.float32)
    # sums of equal float32 numbers are exact in float64, so the spread of a constant column is 0
    scale = np.where(scale > 0, scale, np.float32(1.0))
    return Vectors(_floats(mean), _floats(scale))


def moments(examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of each column of `examples [N, D]`, in float64, without a copy of all of them."""
    count = len(examples)
    mean = sum(block.sum(0) for block in _blocks(examples)) / count
    variance = sum(np.square(block - mean).sum(0) for block in _blocks(examples)) / count
    return np.asarray(mean), np.asarray(variance)


def _blocks(examples: np.ndarray) -> list[np.ndarray] | map:
    return map(lambda first: examples[first : first + _BLOCK].astype(np.float64), range(0, len(examples), _BLOCK))


def _floats(values: ArrayLike | Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.asarray(values, np.float32))
