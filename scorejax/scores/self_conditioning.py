"""Scores that are given their last estimate of the data: self-conditioning (Chen et al. 2022, arXiv 2208.04202).

A network that is given its own prediction of `x_0` from the step before, as more channels of its input, refines it
instead of beginning anew at each noise level. Such a score is no function of `(x, t)` alone: it has no
probability-flow ODE, and no likelihood. A sampler hands the estimate on from step to step; in training it comes from a
first pass of the network, which is given zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial

from scorejax.numerics.trees import PyTree, register_dataclass
from scorejax.scores.predictions import Score, as_score, tweedie
from scorejax.sdes.linear import LinearSDE

FURTHEST = 4.0
"""Where estimates are cut off, in the units of model space, whose data have a range or a deviation of about one."""


@register_dataclass
@dataclass(frozen=True)
class Estimate:
    """The place of the estimate among what a score carries; guidance around the score leaves it where it is.

    Attributes:
        x0: `[B, ...]`; None before the first step, which stands for zeros.
    """

    x0: Array | None = None


def is_self_conditioned(score: PyTree) -> bool:
    """Return whether a score, a pytree, has a place for its last estimate."""
    return any(_is_place(node) for node in jax.tree.leaves(score, is_leaf=_is_place))


def given(score: Score, x0: Array | None) -> Score:
    """Return the score with this estimate in its place; one that has no place for it as it is."""
    return jax.tree.map(lambda node: Estimate(x0) if _is_place(node) else node, score, is_leaf=_is_place)


def estimate(sde: LinearSDE, score: Score, x: Array, t: Array) -> Array:
    """Return `E[x_0 | x_t]` within `+-FURTHEST`, for the next evaluation.

    Where `alpha_t` is small the error of a network is divided by it, and what it hands on to itself must stay near the
    data.
    """
    return jnp.clip(tweedie(sde, x, t, score(x, t)), -FURTHEST, FURTHEST)


def in_training(sde: LinearSDE, score: Score, used: Array) -> Score:
    """Return the score as training has it: given the estimate of a first pass, or zeros.

    The gradient does not go through the first pass.

    Args:
        sde: the forward process.
        score: with a place for its estimate.
        used: bool `[B]`, which examples are given their estimate.
    """
    return Partial(_in_training, sde, as_score(score), used)


def of_point_and_time(score: Score, what: str) -> Score:
    """Return the score as a pytree, where one is needed that is a function of `(x, t)` alone.

    Raises:
        ValueError: it is also given its last estimate.
    """
    if is_self_conditioned(score):
        raise ValueError(
            f"{what} needs a score that is a function of (x, t); this one is also given its last estimate of the data "
            "(self-conditioning): train one without it"
        )
    return as_score(score)


def _is_place(node: PyTree) -> bool:
    return isinstance(node, Estimate)


def _in_training(sde: LinearSDE, score: Score, used: Array, x: Array, t: Array) -> Array:
    first = lax.stop_gradient(estimate(sde, given(score, None), x, t))
    turns = jnp.tile(used, len(x) // len(used))  # several points of an example come in turns
    return given(score, jnp.where(turns.reshape(-1, *[1] * (x.ndim - 1)), first, 0.0))(x, t)
