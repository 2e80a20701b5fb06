"""Classifier-free guidance: `uncond + scale (cond - uncond)`, a conditional and an unconditional score, extrapolated.

One network gives both scores, if it was trained with its condition left out now and then (`drop_labels`). The second
evaluation is skipped wherever the scale is 1.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from numpy.typing import ArrayLike

from scorejax.guidance import strength as strengths
from scorejax.guidance.experts import check_labels
from scorejax.guidance.strength import Strength
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import as_pytree
from scorejax.scores.predictions import ConditionalScore, Score, as_score


def classifier_free(cond: Score, uncond: Score, guidance_scale: Strength = 1.0) -> Score:
    """Return `uncond + guidance_scale (cond - uncond)` (Ho & Salimans, arXiv 2207.12598).

    A scale of 1 is the conditional score and 0 the unconditional one; where it is a plain 1 or 0 the other is never
    evaluated. The paper writes `(1 + w) cond - w uncond`, so `guidance_scale = 1 + w` (`from_w`); GLIDE and Imagen
    use the scale as here. Beyond 1 the result is not the score of any diffused law: the probability-flow ODE, the
    reverse SDE and the tilted density `cond^s uncond^{1 - s}` then give three different laws.

    Args:
        cond: the score given the condition.
        uncond: the score without it, or given a condition to move away from (a negative condition).
        guidance_scale: a number, `[B]`, or a function of `t` (`interval`); where a schedule is 1 for a whole batch
            the second evaluation is skipped as the sampler runs.
    """
    if strengths.is_exactly(guidance_scale, 1.0):
        return as_pytree(cond)
    if strengths.is_exactly(guidance_scale, 0.0):
        return as_pytree(uncond)
    return Partial(_two_calls, as_score(cond), as_score(uncond), strengths.as_leaf(guidance_scale))


def classifier_free_batched(
    score: ConditionalScore,
    condition: Array,
    null_condition: Array | float,
    guidance_scale: Strength = 1.0,
    *,
    num_classes: int | None = None,
) -> Score:
    """Return `classifier_free` for one network that takes a condition: one call on the doubled batch.

    A schedule makes two calls instead, so that the second can be skipped where it is 1.

    Args:
        score: `score(x, t, condition)`; on a doubled batch its `x` has `2 B` rows, conditional ones first.
        condition: a scalar, `[B]` or `[B, ...]`.
        null_condition: what stands for no condition, or the condition to move away from; broadcast to `condition`.
            For numbers `[B, D]` and sequences `[B, L, D]` our networks take NaN (`scorejax.models.ABSENT`).
        guidance_scale: as in `classifier_free`; a plain 1 or 0 makes the call on the batch itself.
        num_classes: number of classes, the null class among them, if conditions that are classes are to be checked.

    Raises:
        ValueError: if `num_classes` is given and a class lies outside `0 .. num_classes - 1`.
    """
    check_labels("classifier_free_batched", condition, num_classes)
    check_labels("classifier_free_batched, null_condition", jnp.asarray(null_condition), num_classes)
    score, condition = as_pytree(score), jnp.asarray(condition)
    condition, null_condition = jnp.broadcast_arrays(condition, jnp.asarray(null_condition, condition.dtype))
    if callable(guidance_scale) or any(strengths.is_exactly(guidance_scale, value) for value in (0.0, 1.0)):
        cond, uncond = (Partial(_given, score, given) for given in (condition, null_condition))
        return classifier_free(cond, uncond, guidance_scale)
    return Partial(_doubled_batch, score, condition, null_condition, strengths.as_leaf(guidance_scale))


def drop_labels(key: Array, condition: Array, null_condition: Array | float, probability: float) -> Array:
    """Return the conditions, each replaced by `null_condition` with this probability: the training side of the method.

    Args:
        key: one key, or one per example `[B]`.
        condition: `[B]` or `[B, ...]`.
        null_condition: what stands for no condition, broadcast to the condition of one example.
        probability: chance of losing the condition; 0.1 to 0.2 works well.

    Raises:
        ValueError: unless `0 <= probability <= 1`.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"drop_labels: the probability must lie in [0, 1], got {probability}")
    keys = keys_lib.per_example(key, condition.shape[0])
    dropped = keys_lib.uniform(keys, (condition.shape[0],)) < probability
    dropped = dropped.reshape(-1, *[1] * (condition.ndim - 1))
    return jnp.where(dropped, jnp.asarray(null_condition, condition.dtype), condition)


def drop_each(key: Array, conditions: Array, owners: ArrayLike, probability: float) -> Array:
    """Return rows of several conditions, each of them absent (NaN) with this probability, by itself.

    With the same probability all of them are, so that both one and all can be led away from in guidance.

    Args:
        key: one key, or one per example `[B]`.
        conditions: `[B, D]`.
        owners: which condition each number of a row belongs to, `[D]`, numbered from 0.
        probability: chance of losing a condition.

    Raises:
        ValueError: unless `0 <= probability <= 1`.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"drop_each: the probability must lie in [0, 1], got {probability}")
    owners = np.asarray(owners)
    count = int(owners.max()) + 1
    keys = keys_lib.per_example(key, conditions.shape[0])
    dropped = keys_lib.uniform(keys, (conditions.shape[0], count + 1)) < probability
    dropped = dropped[:, :count] | dropped[:, count:]
    return jnp.where(dropped[:, owners], jnp.nan, conditions)


def _two_calls(cond: Score, uncond: Score, scale: Strength, x: Array, t: Array) -> Array:
    first = cond(x, t)
    return _extrapolate(first, lambda: uncond(x, t), scale, x, t)


def _extrapolate(cond: Array, uncond: Callable[[], Array], scale: Strength, x: Array, t: Array) -> Array:
    # in this form a scale of 1 gives `cond` to the last bit
    excess = strengths.at(scale, t, x) - 1.0

    def guided() -> Array:
        return cond + excess * (cond - uncond())

    return jax.lax.cond(jnp.any(excess != 0.0), guided, lambda: cond) if callable(scale) else guided()


def _doubled_batch(
    score: ConditionalScore, condition: Array, null_condition: Array, scale: Strength, x: Array, t: Array
) -> Array:
    conditions = jnp.concatenate([_spread(condition, x), _spread(null_condition, x)])
    twice = jnp.concatenate([x, x])
    both = doors.field(twice, score(twice, jnp.concatenate([t, t]), conditions))
    cond, uncond = jnp.split(both, 2)
    return _extrapolate(cond, lambda: uncond, scale, x, t)


def _given(score: ConditionalScore, condition: Array, x: Array, t: Array) -> Array:
    return doors.field(x, score(x, t, _spread(condition, x)))


def _spread(condition: Array, x: Array) -> Array:
    return jnp.broadcast_to(condition, (x.shape[0], *condition.shape[1:]))
