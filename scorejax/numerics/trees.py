"""Trees of arrays: the form that parameters and states take in JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import Field, field, fields
from typing import Any, TypeAlias, TypeVar

import jax
from jax import Array
from jax.tree_util import Partial

T = TypeVar("T")

PyTree: TypeAlias = Any
"""Nested containers (dicts, tuples, dataclasses that JAX knows) with arrays, or their shapes, at the leaves.

No static type says this, so it is `Any` for a type checker; for a reader it says what is inside.
"""


def register_dataclass(kind: type[T]) -> type[T]:
    """Let JAX know a dataclass: its fields are children, those with metadata `{"static": True}` part of the structure.

    In place of `jax.tree_util.register_dataclass` (seen in JAX 0.10), to which the trees of two classes are equal if
    their static fields are. The cache of `jit` then takes the program of one class for the other, and computes with the
    wrong process or operator, whenever the hashes of both fall into one slot: about one time in a hundred.
    """
    every = fields(kind)  # pyright: ignore[reportArgumentType]
    names = {kept: tuple(f.name for f in every if f.init and _is_static(f) == kept) for kept in (0, 1)}

    def parts(tree: T, kept: int) -> tuple[object, ...]:
        return tuple(getattr(tree, name) for name in names[kept])

    def with_keys(tree: T) -> tuple[list[tuple[object, object]], tuple[object, ...]]:
        keys = map(jax.tree_util.GetAttrKey, names[0])
        return list(zip(keys, parts(tree, 0), strict=True)), parts(tree, 1)

    def unflatten(kept: tuple[object, ...], children: Iterable[object]) -> T:
        return kind(**dict(zip(names[1], kept, strict=True)), **dict(zip(names[0], children, strict=True)))

    jax.tree_util.register_pytree_with_keys(kind, with_keys, unflatten, lambda tree: (parts(tree, 0), parts(tree, 1)))
    return kind


def static(**kwargs: Any) -> Any:
    """Declare a dataclass field that is part of the pytree's structure, not one of its leaves."""
    return field(metadata={"static": True}, **kwargs)


def _is_static(one: Field) -> bool:
    return bool(one.metadata.get("static", False))


def as_pytree(function: Callable[..., Array]) -> Callable[..., Array]:
    """Return a score or density as a pytree, so that compiled programs take it as an argument."""
    return Partial(function) if jax.tree_util.all_leaves([function]) else function
