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

Tree = TypeVar("Tree")  # a tree of arrays


def closed(function: Callable[..., Tree], *batch: PyTree) -> tuple[Callable[..., Tree], list[Array]]:
    """Return `pure(held, *batch)` and `held`: what the function closes over has become an argument.

    It may then be traced, or differentiated, outside. The function itself is traced once, here.

    Args:
        function: maps trees of arrays to a tree of arrays.
        *batch: arguments with the shapes of those to come; their values do not matter.
    """
    program, shapes = jax.make_jaxpr(function, return_shape=True)(*batch)
    structure = jax.tree.structure(shapes)

    def pure(held: list[Array], *arguments: PyTree) -> Tree:
        return structure.unflatten(jaxpr_as_fun(program.replace(consts=held))(*jax.tree.leaves(arguments)))

    return pure, program.consts


def together(function: Callable[..., Tree], *batch: PyTree) -> Callable[..., Tree]:
    """Return `one(*example)` that, under `vmap` over the batch, is `function` called once on the whole batch.

    An adaptive solver wants a state of its own for every example, while a score is a function of the batch and may
    hold something per example (class labels, measurements) that its caller cannot see. So the solver is mapped and
    the score is not.

    Args:
        function: maps trees of arrays `[B, ...]` to a tree of arrays `[B, ...]`.
        *batch: arguments with the shapes of those to come; their values do not matter.
    """
    return mapped(*closed(function, *batch), jax.tree.leaves(batch)[0].shape[0])


def mapped(pure: Callable[..., Tree], held: list[Array], size: int) -> Callable[..., Tree]:
    """Return what `together` does, for a function of a batch of `size` that `closed` has opened."""

    def spread(argument: Array, batched: bool = False) -> Array:
        return argument if batched else jnp.broadcast_to(argument, (size, *argument.shape))

    @custom_vmap
    def one(held: list[Array], arguments: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[0], pure(held, *jax.tree.map(spread, arguments)))

    @one.def_vmap
    def _(axis_size: int, in_batched: list, held: list[Array], arguments: PyTree) -> tuple[PyTree, PyTree]:
        if axis_size != size:
            raise ValueError(f"a function of {size} examples was mapped over {axis_size}")
        result = pure(held, *jax.tree.map(spread, arguments, in_batched[1]))
        return result, jax.tree.map(lambda _: True, result)

    return lambda *example: one(held, example)
