"""Orthogonal bases `U` in which a forward process is diagonal: `x = U m`, one coefficient for every mode `m_k`."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics.host_arrays import host_array
from scorejax.numerics.trees import register_dataclass


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
        return (x.reshape(x.shape[0], -1) @ jnp.asarray(self.matrix, x.dtype)).reshape(x.shape)

    def from_modes(self, modes: Array) -> Array:
        """Return `U modes` for `modes [B, ...]`."""
        return (modes.reshape(modes.shape[0], -1) @ jnp.asarray(self.matrix, modes.dtype).T).reshape(modes.shape)


Basis = Identity | Rotation
