"""The gradient of one device's part of a batch: at once, or accumulated over pieces of it that fit in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

from scorejax.experiment.recipe import Metrics, Params
from scorejax.numerics.trees import PyTree

Loss: TypeAlias = Callable[[Params], tuple[Array, Params | None, Metrics]]
"""`params -> (losses [b], carry, metrics)`, as a recipe has it."""


class Measured(NamedTuple):
    """What a batch says of the parameters.

    Attributes:
        value: the mean of its losses.
        carry: what the recipe remembers after it.
        named: the means of the metrics of the recipe.
        gradient: of the mean of the losses.
    """

    value: Array
    carry: Params | None
    named: Metrics
    gradient: Params


def measured(loss: Loss, params: Params) -> Measured:
    """The mean loss of a batch and its gradient."""

    def mean(params: Params) -> tuple[Array, tuple[Params | None, Metrics]]:
        losses, carry, metrics = loss(params)
        return jnp.mean(losses), (carry, metrics)

    (value, (carry, named)), gradient = jax.value_and_grad(mean, has_aux=True)(params)
    return Measured(value, carry, jax.tree.map(jnp.mean, named), gradient)


def accumulated(
    loss_of: Callable[[Array, PyTree], Loss], params: Params, batch: PyTree, pieces: int, *, unroll: bool = False
) -> Measured:
    """The same over equal pieces of a batch, one after the other: the mean of the gradients of the means.

    The pieces have equally many examples, so that this is the gradient of the mean over the batch, up to rounding.

    Args:
        loss_of: the loss of a piece, from its number and its examples.
        params: where the gradient is taken.
        batch: a tree of arrays `[b, ...]`, where `b` is a multiple of `pieces`.
        pieces: into how many it is cut, in order.
        unroll: whether the loop is written out, for devices on which convolutions in loops are slow.
    """
    cut = jax.tree.map(lambda leaf: leaf.reshape(pieces, -1, *leaf.shape[1:]), batch)

    def one(total: Measured, given: tuple[Array, PyTree]) -> tuple[Measured, None]:
        found = measured(loss_of(*given), params)
        return jax.tree.map(jnp.add, total, found), None

    first = jax.tree.map(lambda leaf: leaf[0], cut)
    shapes = jax.eval_shape(lambda p, piece: measured(loss_of(jnp.int32(0), piece), p), params, first)
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = lax.scan(one, zero, (jnp.arange(pieces), cut), unroll=pieces if unroll else 1)
    return jax.tree.map(lambda leaf: leaf / pieces, total)
