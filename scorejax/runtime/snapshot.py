"""A state of training as numpy arrays: copied from the devices, looked at, and known by a checksum."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import jax
import numpy as np

from scorejax.numerics.trees import PyTree
from scorejax.runtime import files, parallel


class Snapshot(NamedTuple):
    """A state that was copied to the host, to be saved once it is known to be good.

    Attributes:
        fields: numpy arrays by field of the state.
    """

    fields: dict[str, PyTree]

    @classmethod
    def of(cls, state: PyTree, per_device: tuple[str, ...] = ()) -> Snapshot:
        """Copy a state.

        Args:
            state: a NamedTuple of replicated arrays.
            per_device: the fields that differ between devices, each device having its own.

        Raises:
            RuntimeError: the devices hold different states.
        """
        there = present(state._asdict())
        fields = parallel.to_host({name: value for name, value in there.items() if name not in per_device})
        return cls(fields | {name: parallel.own_to_host(there[name]) for name in per_device if name in there})

    def is_finite(self, *names: str) -> bool:
        """Whether all numbers of these fields are."""
        leaves = jax.tree.leaves([self.fields.get(name) for name in names])
        return all(bool(np.isfinite(leaf).all()) for leaf in leaves)


def checksum(tree: PyTree) -> int:
    """Return the CRC-32 of all bytes, shapes and types of a tree of numpy arrays."""
    value = 0
    for leaf in map(np.asarray, jax.tree.leaves(tree)):
        value = zlib.crc32(f"{leaf.dtype}{leaf.shape}".encode(), value)
        value = files.checksum(leaf, value)
    return value


def present(fields: dict[str, PyTree]) -> dict[str, PyTree]:
    """What a run has: a field that is None is not stored."""
    return {name: value for name, value in fields.items() if value is not None}
