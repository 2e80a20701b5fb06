"""Functions of a whole batch inside code written for one example, such as a solver with a step size for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_batching import custom_vmap
from jax.extend.core import jaxpr_as_fun

from scorejax.numerics.trees import PyTree

Tree = TypeVar("Tree")


def together(function: Callable[..., Tree], *batch: Array) -> Callable[..., Tree]:
    """Return `one(*example)` that, under `vmap` over the batch, is `function` called once on the whole batch.

    An adaptive solver wants a state of its own for every example, while a score is a function of the batch and may
    hold something per example (class labels, measurements) that its caller cannot see. So the solver is mapped and
    the score is not.

    Args:
        function: maps arrays `[B, ...]` to a pytree of arrays `[B, ...]`.
        *batch: arrays with the shapes of its arguments; their values do not matter.
    """
    size = batch[0].shape[0]
    # What the function closes over becomes an argument, so that it may be traced outside.
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*batch)
    structure = jax.tree.structure(shapes)

    def whole(held: list[Array], *arguments: Array) -> PyTree:
        return structure.unflatten(jaxpr_as_fun(closed.replace(consts=held))(*arguments))

    def spread(argument: Array, batched: bool = False) -> Array:
        return argument if batched else jnp.broadcast_to(argument, (size, *argument.shape))

    @custom_vmap
    def one(held: list[Array], *arguments: Array) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[0], whole(held, *map(spread, arguments)))

    @one.def_vmap
    def _(axis_size: int, in_batched: list, held: list[Array], *arguments: Array) -> tuple[PyTree, PyTree]:
        if axis_size != size:
            raise ValueError(f"a function of {size} examples was mapped over {axis_size}")
        result = whole(held, *map(spread, arguments, in_batched[1:]))
        return result, jax.tree.map(lambda _: True, result)

    return lambda *example: one(closed.consts, *example)
