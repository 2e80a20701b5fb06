"""NumPy arrays in fields of dataclasses, free of the precision in which JAX first met them.

JAX (seen from 0.10 to 0.12) keeps the canonical form of a NumPy array under the array's identity, whichever state
`jax.enable_x64` is in, for as long as a program holds the array as a constant. An array that was closed over in
float64 then arrives as float64 in a float32 program, which fails, and the reverse order loses digits silently. A new
view of the array has an identity of its own, so that every program takes it in its own precision.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np


class HostArray:
    """A field of a dataclass that gives a new view of the NumPy array it holds each time it is read.

    Other values (JAX arrays, tracers, numbers) are returned as they are.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        if instance is None:
            raise AttributeError(self.name)  # `dataclass` then knows that the field has no default
        value = vars(instance)[self.name]
        return value.view() if isinstance(value, np.ndarray) else value

    def __set__(self, instance: object, value: object) -> None:
        vars(instance)[self.name] = value


def host_array() -> Any:
    """Declare a field without default that may hold a NumPy array: `table: np.ndarray = host_array()`."""
    return HostArray()


class HostArrays:
    """A base of classes that users derive dataclasses from: the fields of each are declared as by `host_array()`.

    It holds for fields without a default; one with a default is a number, or another dataclass.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for name, kind in inspect.get_annotations(cls).items():
            if name not in vars(cls) and "ClassVar" not in str(kind):
                field = HostArray()
                field.__set_name__(cls, name)
                setattr(cls, name, field)
