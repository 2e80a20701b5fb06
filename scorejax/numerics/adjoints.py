"""Gradients through loops with as many steps as the data ask for, which JAX differentiates in forward mode alone.

The steps that a solver took are recorded by their times, and taken again, backwards, each with its own gradient. The
step sizes count as given numbers: the gradient is that of the numbers that the solver returned, for the steps it took.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jax import Array, lax

from scorejax.numerics.trees import PyTree

Adjoint: TypeAlias = Literal["recompute", "forward"]
ADJOINTS = get_args(Adjoint)


class Solved(NamedTuple):
    """What a solver returns for a batch.

    Attributes:
        y: the state at the end, NaN where it did not arrive, a tree of `[B, ...]`.
        evaluations: made for each example, `[B]`.
        times: where each example's accepted steps end, `[B, max_steps]`; None unless they were asked for.
        steps: how many those are, `[B]`; None likewise.
    """

    y: PyTree
    evaluations: Array
    times: Array | None = None
    steps: Array | None = None


Run = Callable[[PyTree, PyTree, Array, Array, bool], Solved]
"""`run(held, y, t0, t1, record)`: solve from `t0` to `t1`, each example with steps of its own."""

OneStep = Callable[[PyTree, PyTree, Array, Array], PyTree]
"""`step(held, y, t [B], s [B])`: the state after one accepted step from `t` to `s`, for the whole batch."""


def check_adjoint(adjoint: str) -> str:
    """Return the name of the way to differentiate.

    Raises:
        ValueError: on an unknown name.
    """
    if adjoint not in ADJOINTS:
        raise ValueError(
            f"unknown adjoint {adjoint!r}; choose one of {', '.join(ADJOINTS)}: for jax.grad (reverse mode), or for "
            "jax.jvp and jax.jacfwd"
        )
    return adjoint


@contextmanager
def hint_at_adjoint() -> Iterator[None]:
    """Add the remedy to what JAX says of forward mode through an adaptive solve that is made for reverse mode."""
    try:
        yield
    except TypeError as error:
        if "custom_vjp" in str(error):
            error.add_note("An adaptive solve takes adjoint='forward' for jax.jvp and jax.jacfwd.")
        raise


def differentiable(
    run: Run, step: OneStep, held: PyTree, y: PyTree, t0: Array, t1: Array, *, max_steps: int, adjoint: str
) -> Solved:
    """Return `run(held, y, t0, t1)` with a gradient by `y`, the times, and the floating numbers in `held`.

    Without a gradient it is `run` itself. With one, the state is kept at about `sqrt(max_steps)` steps and computed
    again in between: the memory is that of `2 sqrt(max_steps)` states of the batch and of one step; the time, some
    three accepted solves and one gradient for each accepted step. Examples that did not arrive have a NaN gradient.

    Args:
        run: the solver.
        step: one of its steps.
        held: all that `run` and `step` read but `y` and the times: neither may close over a traced number.
        y: the states at `t0`, a tree of `[B, ...]`.
        t0: where to start, a scalar.
        t1: where to end.
        max_steps: most steps.
        adjoint: `recompute`, or `forward` for the loop itself, which `jax.jvp` can differentiate.
    """
    if adjoint == "forward":
        return run(held, y, t0, t1, False)

    @jax.custom_vjp
    def solve(held: PyTree, y: PyTree, t0: Array, t1: Array) -> Solved:
        return run(held, y, t0, t1, False)

    def forward(held: PyTree, y: PyTree, t0: Array, t1: Array) -> tuple[Solved, tuple]:
        solved = run(held, y, t0, t1, True)
        return Solved(solved.y, solved.evaluations), (held, y, t0, t1, solved)

    def backward(residuals: tuple, cotangents: Solved) -> tuple:
        held, y, t0, t1, solved = residuals
        # a masked failure (a cotangent of zero) stays masked, any other must not pass for a gradient
        failed = jax.tree.map(
            lambda ct, end: jnp.where(jnp.isfinite(end) | (ct == 0.0), ct, jnp.nan), cotangents.y, solved.y
        )
        return _backward(step, held, y, t0, t1, solved.times, solved.steps, failed, max_steps)

    solve.defvjp(forward, backward)
    return solve(held, y, t0, t1)


def _backward(
    step: OneStep,
    held: PyTree,
    y: PyTree,
    t0: Array,
    t1: Array,
    ends: Array,
    count: Array,
    cotangent: PyTree,
    most: int,
) -> tuple:
    """Return the gradients by `held`, `y`, `t0` and `t1`: from mark to mark, the last piece of the path first."""
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, held))
    inexact = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]
    smooth = [leaf for leaf, is_inexact in zip(leaves, inexact, strict=True) if is_inexact]

    def with_held(smooth: list[Array]) -> PyTree:
        moving = iter(smooth)
        return structure.unflatten([next(moving) if s else leaf for leaf, s in zip(leaves, inexact, strict=True)])

    def interval(i: Array) -> tuple[Array, Array]:
        last = ends.shape[1] - 1
        before = jnp.where(i == 0, t0, ends[:, jnp.clip(i - 1, 0, last)])
        return before, ends[:, jnp.clip(i, 0, last)]

    def advance(smooth: list[Array], y_now: PyTree, i: Array, t: Array, s: Array) -> PyTree:
        # who has arrived takes a step that was taken once, so that all numbers are finite, and forgets it
        active = i < count
        first, second = interval(jnp.zeros((), jnp.int32))
        point = _select(active, y_now, y)
        moved = step(with_held(smooth), point, jnp.where(active, t, first), jnp.where(active, s, second))
        return _select(active, moved, y_now)

    def move(i: Array, state: PyTree) -> PyTree:
        return advance(smooth, state, i, *interval(i))

    pieces = math.isqrt(most - 1) + 1  # the root, rounded up
    size = -(-most // pieces)
    total = jnp.max(count)
    length = jnp.maximum(-(-total // pieces), 1)  # of a piece, as many steps as were made
    used = -(-total // length)

    def room(number: int) -> PyTree:
        return jax.tree.map(lambda leaf: jnp.zeros((number, *leaf.shape), leaf.dtype), y)

    def keep(store: PyTree, place: Array, state: PyTree) -> PyTree:
        return jax.tree.map(lambda kept, leaf: kept.at[place].set(leaf), store, state)

    def mark(piece: Array, carry: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        state, marks = carry
        marks = keep(marks, piece, state)
        return lax.fori_loop(piece * length, (piece + 1) * length, move, state), marks

    _, marks = lax.fori_loop(0, used, mark, (y, room(pieces)))

    def fill(start: Array, j: Array, carry: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        state, states = carry
        return move(start + j, state), keep(states, j, state)

    def back(start: Array, states: PyTree, backwards: Array, carry: tuple) -> tuple:
        grads, ct, ct0, ct1 = carry
        j = length - 1 - backwards
        i = start + j
        state = jax.tree.map(lambda kept: kept[j], states)
        t, s = interval(i)
        _, pull = jax.vjp(lambda smooth, state, t, s: advance(smooth, state, i, t, s), smooth, state, t, s)
        own, ct, at_t, at_s = pull(ct)
        # the times of the steps between are given numbers; the first step moves with t0, the last with t1
        ct0 += jnp.sum(jnp.where(i == 0, at_t, 0.0))
        ct1 += jnp.sum(jnp.where(i == count - 1, at_s, 0.0))
        return [a + b for a, b in zip(grads, own, strict=True)], ct, ct0, ct1

    def piece_back(backwards: Array, carry: tuple) -> tuple:
        piece = used - 1 - backwards
        start = piece * length
        first = jax.tree.map(lambda kept: kept[piece], marks)
        _, states = lax.fori_loop(0, length, partial(fill, start), (first, room(size)))
        return lax.fori_loop(0, length, partial(back, start, states), carry)

    nothing = ([jnp.zeros_like(leaf) for leaf in smooth], cotangent, jnp.zeros_like(t0), jnp.zeros_like(t1))
    grads, ct, ct0, ct1 = lax.fori_loop(0, used, piece_back, nothing)
    moving = iter(grads)
    return structure.unflatten([next(moving) if s else None for s in inexact]), ct, ct0, ct1


def _select(active: Array, yes: PyTree, no: PyTree) -> PyTree:
    def one(a: Array, b: Array) -> Array:
        return jnp.where(active.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(one, yes, no)
