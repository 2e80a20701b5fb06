"""Host arrays inside pytrees, free of the precision in which JAX first met them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np


class HostArrays:
    """A base of dataclasses whose fields may be NumPy arrays: every look at such a field gives a new view of it.

    JAX (seen from 0.10 to 0.12) keeps the canonical form of a NumPy array under the array's identity, whatever
    `jax.enable_x64` says, for as long as a program holds it as a constant: what was closed over in float64 arrives as
    float64 in a float32 program, which fails, and the reverse loses digits without a word. A new view it does not know.
    """

    if not TYPE_CHECKING:  # or else type checkers would believe that every attribute exists

        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            return value.view() if isinstance(value, np.ndarray) else value
