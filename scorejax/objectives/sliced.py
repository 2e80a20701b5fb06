"""Score matching from samples of `x_t` alone: the mean of `|score|^2 + 2 tr J`, with the trace exact or estimated.

No transition kernel is needed, which makes it the objective of processes that can only be simulated.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.objectives.time_sampling import time_density, time_or_drawn
from scorejax.objectives.weighting import Weighting, reduction_factor, weight
from scorejax.scores import jacobian as probes_lib
from scorejax.scores.predictions import Score
from scorejax.sdes.linear import LinearSDE

Diffuse = Callable[[Array, Array, Array], Array]
"""`diffuse(keys [B], x0 [B, ...], t [B]) -> x_t [B, ...]`, each example from its own key."""


def sliced(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    *,
    t: Array | None = None,
    time_sampling: str = "uniform",
    weighting: Weighting = "simple",
    reduction: str = "mean",
    diffuse: Diffuse | None = None,
    probes: int = 1,
    projection: str = "rademacher",
    variance_reduced: bool = True,
) -> Array:
    """Return the sliced score matching loss of each example, `[B]` (arXiv 1905.07088; Score-SDE, appendix A).

        loss_b = w(t) / p(t) * reduce( sigma_t^2 (|score|^2 + 2 v^T J v) ),   J the Jacobian of score(x_t, t)

    averaged over probes `v`. It estimates the loss of `denoising` with the same weighting less the constant `w(t)`
    per dimension: for *any* score `E[denoising] - E[sliced] = w(t) D` with `reduction="sum"`. So it is negative at
    its minimum, and its minimizer is the same, the score of the diffused data. It needs samples of `x_t`, and no
    transition kernel: give `diffuse` to simulate a process whose kernel is unknown. Hyvarinen's own
    `E[tr J + |score|^2 / 2]` is `weighting=lambda sde, t: 1 / sde.variance(t)` with `reduction="half_sum"`.

    The cost is one Jacobian-vector product per probe and the score itself. A network whose second derivatives vanish
    (ReLU) cannot learn from its Jacobian; use a smooth activation.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process; with `diffuse` only its times and its weights matter.
        score: `score(x, t)`, the model's.
        x0: data, `[B, ...]`, in model units.
        t: times `[B]` drawn outside by `draw_times(..., time_sampling)`; drawn here if not given.
        time_sampling: how times are drawn: `uniform`, `stratified` or `importance`.
        weighting: weights of the squared *noise* error, as in `denoising`: a name in `WEIGHTINGS`, or any function
            `(sde, t) -> [B]`; the squared score is weighted by `sigma_t^2` times that.
        reduction: over an example's dimensions: `mean`, `sum` or `half_sum`.
        diffuse: draws `x_t` from `(keys [B], x0, t)`; by default from the process's own kernel.
        probes: `v` per example.
        projection: `rademacher`, `gaussian` or `sphere` (of radius sqrt(D)), all with `E[v v^T] = I`.
        variance_reduced: take `|score|^2` itself (SSM-VR) rather than its projection `(v^T score)^2` (SSM).

    Raises:
        ValueError: on an unknown name, fewer than one probe, or data, times, keys or a score of another kind or shape.
    """

    def vectors(keys: Array, x: Array) -> Array:
        return probes_lib.draw(keys, x, projection, probes)

    return _loss(key, sde, score, x0, t, time_sampling, weighting, reduction, diffuse, vectors, variance_reduced)


def implicit(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    *,
    t: Array | None = None,
    time_sampling: str = "uniform",
    weighting: Weighting = "simple",
    reduction: str = "mean",
    diffuse: Diffuse | None = None,
) -> Array:
    """Return the loss of `sliced` with the exact trace, `[B]` (Hyvarinen 2005); arguments as there.

        loss_b = w(t) / p(t) * reduce( sigma_t^2 (|score|^2 + 2 tr J) )

    D Jacobian-vector products at once: for few dimensions, and to measure what the projections add.

    Raises:
        ValueError: on an unknown name.
    """
    return _loss(
        key, sde, score, x0, t, time_sampling, weighting, reduction, diffuse, lambda keys, x: probes_lib.basis(x), True
    )


def _loss(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    t: Array | None,
    time_sampling: str,
    weighting: Weighting,
    reduction: str,
    diffuse: Diffuse | None,
    draw_vectors: Callable[[Array, Array], Array],
    variance_reduced: bool,
) -> Array:
    x0 = doors.points(x0, "x0")
    t, noise_key = time_or_drawn(key, sde, x0.shape[0], t, time_sampling)
    keys = keys_lib.per_example(noise_key, x0.shape[0])
    # Two streams: the probes must not depend on the noise in `x`.
    x = (diffuse or _kernel(sde))(keys_lib.fold_in(keys, 0), x0, t)
    vectors = draw_vectors(keys_lib.fold_in(keys, 1), x)
    value, products = probes_lib.score_and_products(score)(x, t, vectors)
    weights, variance = weight(weighting, sde, t), sde.variance(t)

    def metric(y: Array, power: float = 1.0) -> Array:
        return sde.scale(weights**power, t, sde.scale(variance**power, t, y))

    def one(v: Array, product: Array) -> Array:
        # Both squares have the same mean, since E[v v^T] = I; the first needs no draw of `v`.
        square = _dot(metric(value), value) if variance_reduced else _dot(metric(v, 0.5), value) ** 2
        return square + 2.0 * _dot(metric(v), product)

    total = jnp.mean(jax.vmap(one, in_axes=1)(vectors, products), axis=0)
    return reduction_factor(reduction, x0.shape[1:]) * total / time_density(sde, t, time_sampling)


def _kernel(sde: LinearSDE) -> Diffuse:
    return lambda keys, x0, t: sde.perturb(x0, t, keys_lib.normal(keys, x0.shape, x0.dtype))


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum((a * b).reshape(a.shape[0], -1), axis=1)
