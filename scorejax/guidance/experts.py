"""Products of experts: the score of `p_t(x) prod_j exp(-w_j E_j(x, t))` is `score - sum_j w_j grad E_j`.

A classifier is the expert with `E = -log p(y | x, t)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.guidance import strength as strengths
from scorejax.guidance.strength import Strength
from scorejax.numerics import doors
from scorejax.numerics.trees import as_pytree
from scorejax.scores.predictions import Score, as_score

Scalar = Callable[[Array, Array], Array]
"""A function `(x [B, ...], t [B]) -> [B]`, each example's value from its own row alone."""


def classifier(score: Score, log_prob_fn: Scalar, scale: Strength = 1.0) -> Score:
    """Return `score + scale grad_x log p(y | x, t)` (classifier guidance, arXiv 2011.13456 and 2105.05233).

    With the exact classifier of the diffused data and `scale = 1` this is the score of `p_t(x | y)`; other scales
    sharpen or flatten `p(y | x, t)`. The gradient is taken at the point where the score is evaluated.

    Args:
        score: the unconditional score.
        log_prob_fn: `(x [B, ...], t [B]) -> log p(y | x, t) [B]`. It sees the diffused `x`, so it must know `t`.
            Each value must come from its own row alone (no batch normalization in training mode).
        scale: a number, `[B]`, or a function of `t`; a plain 0 leaves the classifier out.

    Raises:
        ValueError: when evaluated, if `log_prob_fn` does not return one number per example.
    """
    if strengths.is_exactly(scale, 0.0):
        return as_pytree(score)
    return Partial(_tilted, as_score(score), (as_pytree(log_prob_fn),), (strengths.as_leaf(scale),))


def experts(score: Score, energies: Sequence[Scalar], weights: Sequence[Strength] | None = None) -> Score:
    """Return `score - sum_j weights_j grad_x E_j(x, t)`, the score of `p_t(x) prod_j exp(-weights_j E_j)`.

    (The energy guidance of EGSDE, arXiv 2207.06635.) Weights are in nats per unit of energy. A plain weight of 0
    leaves its energy out.

    Args:
        score: the score of the first expert.
        energies: `(x [B, ...], t [B]) -> E [B]`, each example's from its own row alone.
        weights: one strength per energy; all 1 if not given.

    Raises:
        ValueError: if there are not as many weights as energies; when evaluated, if an energy does not return one
            number per example.
    """
    weights = [1.0] * len(energies) if weights is None else weights
    if len(weights) != len(energies):
        raise ValueError(f"experts: need one weight per energy, got {len(energies)} energies, {len(weights)} weights")
    kept = [(e, w) for e, w in zip(energies, weights, strict=True) if not strengths.is_exactly(w, 0.0)]
    if not kept:
        return as_pytree(score)
    log_factors = tuple(Partial(_negative, as_pytree(energy)) for energy, _ in kept)
    return Partial(_tilted, as_score(score), log_factors, tuple(strengths.as_leaf(weight) for _, weight in kept))


def class_log_prob(logits: Scalar, label: Array, num_classes: int | None = None) -> Scalar:
    """Return `log p(label | x, t)` of a classifier, for `classifier`.

    Args:
        logits: `(x [B, ...], t [B]) -> [B, K]`.
        label: the wanted class, a scalar or `[B]`, integers.
        num_classes: `K`, if the labels are to be checked here.

    Raises:
        ValueError: if `num_classes` is given and a label lies outside `0 .. K - 1`. Unchecked, such a label makes
            the result NaN.
    """
    check_labels("class_log_prob", label, num_classes)
    return Partial(_class_log_prob, as_pytree(logits), jnp.asarray(label))


def check_labels(name: str, label: Array, num_classes: int | None) -> None:
    """Refuse labels outside `0 .. num_classes - 1`, where both are known.

    Raises:
        ValueError: on such a label.
    """
    if num_classes is None or not doors.known(label):
        return
    values = jnp.asarray(label)
    if bool(jnp.any((values < 0) | (values >= num_classes))):
        raise ValueError(
            f"{name}: labels must lie in 0 .. {num_classes - 1} for {num_classes} classes, got "
            f"{int(values.min())} .. {int(values.max())}"
        )


def _class_log_prob(logits: Scalar, label: Array, x: Array, t: Array) -> Array:
    values = jax.nn.log_softmax(doors.class_logits(x, logits(x, t)), axis=-1)
    label = jnp.broadcast_to(label, x.shape[:1])
    # negative labels would count from the end
    label = jnp.where(label < 0, values.shape[-1], label)
    return jnp.take_along_axis(values, label[:, None], axis=-1, mode="fill", fill_value=jnp.nan)[:, 0]


def _tilted(score: Score, log_factors: tuple[Scalar, ...], weights: tuple[Strength, ...], x: Array, t: Array) -> Array:
    value = score(x, t)
    for log_factor, weight in zip(log_factors, weights, strict=True):
        gradient = jax.grad(partial(_total, log_factor))(x, t)
        value = value + strengths.at(weight, t, x) * gradient
    return value


def _total(log_factor: Scalar, x: Array, t: Array) -> Array:
    return jnp.sum(doors.per_row(x, log_factor(x, t), "a log density or energy"))


def _negative(energy: Scalar, x: Array, t: Array) -> Array:
    return -energy(x, t)
