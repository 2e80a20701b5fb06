"""What an example is given by name: classes, numbers, vectors, sequences and fields, as one row of numbers.

Several conditions travel together: their numbers one after the other, in units in which each has mean 0 and deviation
1, a class by its number. NaN is a number that is absent, so that zero is a value like any other. A row of numbers is
batched, sent to devices, guided and stored like any vector; `Condition` says what lies where in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import Array

Kind: TypeAlias = Literal["class", "scalar", "vector", "sequence", "field"]


@dataclass(frozen=True)
class Condition:
    """One of the conditions of an example.

    Attributes:
        name: what it is called.
        kind: a class, a scalar, a vector `[K]`, a sequence of vectors `[L, K]`, or a field `[*sides, K]`, with the
            sides of the example.
        shape: of its value; empty for a class and a scalar.
        classes: number of classes; 0 for all else.
        class_names: a name for each class; may be empty.
        mean: of each of the K channels over the training examples, in the user's units.
        deviation: theirs, above zero.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...] = ()
    classes: int = 0
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)

    @property
    def size(self) -> int:
        """How many numbers of a row it takes."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        sides = f" {'x'.join(map(str, self.shape))}" if self.shape else ""
        return f"{self.name} ({self.kind}{f' of {self.classes}' if self.classes else ''}{sides})"

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Return values `[..., *shape]` in the user's units as they stand in a row; classes by their number."""
        values = np.asarray(values, np.float64)
        if self.kind != "class":
            mean, deviation = (np.asarray(each) if self.shape else each[0] for each in (self.mean, self.deviation))
            values = (values - mean) / deviation
        return values.astype(np.float32)


def length(conditions: Sequence[Condition]) -> int:
    """Return how many numbers a row has."""
    return sum(each.size for each in conditions)


def owners(conditions: Sequence[Condition]) -> np.ndarray:
    """Return of each number of a row which condition it belongs to, int `[D]`."""
    return np.repeat(np.arange(len(conditions)), [each.size for each in conditions])


def parts(conditions: Sequence[Condition], rows: Array) -> list[Array]:
    """Return the value of each condition, `[B, *shape]`, of rows `[B, D]`."""
    ends = np.cumsum([each.size for each in conditions])[:-1].tolist()
    found = jnp.split(rows, ends, axis=1)
    return [part.reshape(len(rows), *each.shape) for each, part in zip(conditions, found, strict=True)]
