"""Denoising score matching: the squared error of `-sigma_t score(x_t, t)` as a prediction of the noise in `x_t`.

It is DDPM's and SMLD's objective on a chain of levels, and Score-SDE's in continuous time.
"""

from __future__ import annotations

from jax import Array

from scorejax.objectives import score_matching
from scorejax.objectives.over_time import over_time
from scorejax.objectives.time_sampling import TimesBy
from scorejax.objectives.weighting import Reduction, Weighting
from scorejax.scores.predictions import Score
from scorejax.sdes.linear import LinearSDE


def denoising(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    *,
    t: Array | None = None,
    time_sampling: TimesBy = "uniform",
    weighting: Weighting = "simple",
    reduction: Reduction = "mean",
) -> Array:
    """Return the denoising score matching loss of each example, `[B]` (Vincent 2011; Score-SDE eq. 7).

        loss_b = w(t) / p(t) * reduce( (sigma_t score(x_t, t) + noise)^2 ),   x_t = alpha_t x_0 + sigma_t noise

    It is explicit score matching against the score `-noise / sigma_t` of the kernel, and its minimizer is the score of
    the diffused data. For a discrete chain the times are its levels, which makes
    this the DDPM or SMLD objective. `p` is the density of the time sampler relative to uniform times, so the
    expectation does not depend on the sampler.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`, the model's.
        x0: data, `[B, ...]`, in model units.
        t: times `[B]` drawn outside by `draw_times(..., time_sampling)`; drawn here if not given.
        time_sampling: how times are drawn: `uniform`, `stratified`, `importance`, or a law, see `draw_times`.
        weighting: a name in `WEIGHTINGS`, or any function `(sde, t) -> [B]` (`[B, ...]` for a weight per mode),
            such as `functools.partial(p2, k=2.0)`. Under `uncertainty`, `u(t) / p(t)` is added.
        reduction: over an example's dimensions: `mean`, `sum` or `half_sum`.

    Raises:
        ValueError: on an unknown name, or data, times, keys or a score of another kind or shape.
    """
    return over_time(score_matching.explicit)(
        key, sde, score, x0, t=t, time_sampling=time_sampling, weighting=weighting, reduction=reduction
    )
