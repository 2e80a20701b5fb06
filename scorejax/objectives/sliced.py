"""Score matching from samples of `x_t` alone: the mean of `|score|^2 + 2 tr J`, with the trace exact or estimated.

No transition kernel is needed, which makes it the objective of processes that can only be simulated.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from jax import Array

from scorejax.numerics.ranges import Count, Positive
from scorejax.objectives import score_matching
from scorejax.objectives.over_time import Diffuse, over_time
from scorejax.objectives.time_sampling import TimesBy
from scorejax.objectives.weighting import Reduction, Weighting
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import SDE


def sliced(
    key: Array,
    sde: SDE,
    score: Score,
    x0: Array,
    *,
    t: Array | None = None,
    time_sampling: TimesBy = "uniform",
    weighting: Weighting = "simple",
    reduction: Reduction = "mean",
    diffuse: Diffuse | None = None,
    probes: Count = 1,
    projection: Literal["rademacher", "gaussian", "sphere"] = "rademacher",
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
        time_sampling: how times are drawn: `uniform`, `stratified`, `importance`, or a law, see `draw_times`.
        weighting: weights of the squared *noise* error, as in `denoising`: a name in `WEIGHTINGS`, or any function
            `(sde, t) -> [B]`; the squared score is weighted by `sigma_t^2` times that.
        reduction: over an example's dimensions: `mean`, `sum` or `half_sum`.
        diffuse: draws `x_t` from `(keys [B], x0, t)`; by default the process draws it, `sde.corrupt`.
        probes: `v` per example.
        projection: `rademacher`, `gaussian` or `sphere` (of radius sqrt(D)), all with `E[v v^T] = I`.
        variance_reduced: take `|score|^2` itself (SSM-VR) rather than its projection `(v^T score)^2` (SSM).

    Raises:
        ValueError: on an unknown name, fewer than one probe, or data, times, keys or a score of another kind or shape.
    """
    timeless = partial(score_matching.sliced, probes=probes, projection=projection, variance_reduced=variance_reduced)
    return over_time(timeless)(
        key, sde, score, x0, t=t, time_sampling=time_sampling, weighting=weighting, reduction=reduction, diffuse=diffuse
    )


def implicit(
    key: Array,
    sde: SDE,
    score: Score,
    x0: Array,
    *,
    t: Array | None = None,
    time_sampling: TimesBy = "uniform",
    weighting: Weighting = "simple",
    reduction: Reduction = "mean",
    diffuse: Diffuse | None = None,
) -> Array:
    """Return the loss of `sliced` with the exact trace, `[B]` (Hyvarinen 2005); arguments as there.

        loss_b = w(t) / p(t) * reduce( sigma_t^2 (|score|^2 + 2 tr J) )

    D Jacobian-vector products at once: for few dimensions, and to measure what the projections add.

    Raises:
        ValueError: on an unknown name.
    """
    return over_time(score_matching.exact)(
        key, sde, score, x0, t=t, time_sampling=time_sampling, weighting=weighting, reduction=reduction, diffuse=diffuse
    )


def finite_difference(
    key: Array,
    sde: SDE,
    score: Score,
    x0: Array,
    *,
    t: Array | None = None,
    time_sampling: TimesBy = "uniform",
    weighting: Weighting = "simple",
    reduction: Reduction = "mean",
    diffuse: Diffuse | None = None,
    radius: Positive = 0.1,
) -> Array:
    """Return the loss of `sliced` with differences of scores in the place of derivatives, `[B]` (arXiv 2007.03317).

    Two evaluations of the score at once, or three of an energy made to one by `score_from_energy`; other arguments as
    of `sliced`.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`, the model's.
        x0: data, `[B, ...]`, in model units.
        t: times `[B]`.
        time_sampling: how times are drawn.
        weighting: weights of the squared noise error.
        reduction: over an example's dimensions.
        diffuse: draws `x_t`.
        radius: of the difference, in units of the noise `sqrt(w) sigma_t`.

    Raises:
        ValueError: as `sliced`, and on a radius that is not positive.
    """
    return over_time(partial(score_matching.finite_difference, radius=radius))(
        key, sde, score, x0, t=t, time_sampling=time_sampling, weighting=weighting, reduction=reduction, diffuse=diffuse
    )
