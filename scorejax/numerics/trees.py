"""Trees of arrays: the form that parameters and states take in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
from jax import Array
from jax.tree_util import Partial

PyTree: TypeAlias = Any
"""Nested containers (dicts, tuples, dataclasses that JAX knows) with arrays, or their shapes, at the leaves.

No static type says this, so it is `Any` for a type checker; for a reader it says what is inside.
"""


def as_pytree(function: Callable[..., Array]) -> Callable[..., Array]:
    """Return a score or density as a pytree, so that compiled programs take it as an argument."""
    return Partial(function) if jax.tree_util.all_leaves([function]) else function
