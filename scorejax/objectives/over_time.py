"""From one density to the densities of a process: a timed objective is a timeless one in the units of the noise.

At a point `x_t` let `R = sqrt(w(t)) sigma_t`, mode by mode. In the coordinates `y` of `x = x_t + R y` the score is
`R score(x_t + R y, t)`, and its Jacobian is `R J R`. A timeless objective at `y = 0` is therefore

    tr(R J R) + |R score|^2 / 2 = w sigma^2 ( tr J + |score|^2 / 2 )        where all modes have one noise

and `w(t)` is a weight of the squared error of the noise `-sigma score`, at every level in the same scale. Of a process
that is no Gaussian one `sigma_t^2` is `sde.noise_variance(t)`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.objectives import score_matching
from scorejax.objectives.score_matching import EnergyScore, StaticScore, Timeless
from scorejax.objectives.time_sampling import TimesBy, time_density, time_or_drawn
from scorejax.objectives.weighting import Reduction, Trained, Weighting, reduction_factor, weight
from scorejax.scores.predictions import Score, energy_of
from scorejax.sdes.corruption import SDE, check_kind
from scorejax.sdes.linear import LinearSDE

Diffuse = Callable[[Array, Array, Array], Array]
"""`diffuse(keys [B], x0 [B, ...], t [B]) -> x_t [B, ...]`, each example from its own key."""


def over_time(objective: Timeless) -> Callable[..., Array]:
    """Return the timed objective `(key, sde, score, x0, *, t=None, ...) -> loss [B]` of a timeless one.

        loss_b = w(t) / p(t) * reduce( 2 sigma_t^2 objective )

    It takes the keywords `t`, `time_sampling`, `weighting`, `reduction` of `denoising`, and `diffuse` of `sliced`.
    Objectives that need samples alone need none but those of `x_t`. `explicit` is given the score of the kernel,
    `-noise / sigma_t`, in the place of the truth, which has the same minimizer: that is `denoising`, whose own noise is
    then the noise of the process.

    Args:
        objective: `(key, score, x) -> loss [B]`, such as those of `scorejax.score_matching`; settings of its own by
            `functools.partial`.
    """
    if objective is score_matching.denoising:
        objective = score_matching.explicit
    of_kernel = score_matching.needs_truth(objective)

    def timed(
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
        x0 = doors.points(x0, "x0")
        t, noise_key = time_or_drawn(key, sde, len(x0), t, time_sampling)
        keys = keys_lib.per_example(noise_key, len(x0))
        weighed = weight(weighting, sde, t)
        weighed, added = weighed if isinstance(weighed, Trained) else (weighed, None)
        if added is not None and not of_kernel:
            raise ValueError(
                "a weighting that is trained is of squared errors, and this objective may be negative: take the "
                "objective denoising, or another weighting"
            )
        root, sigma = jnp.sqrt(weighed), jnp.sqrt(sde.noise_variance(t))

        def in_units(y: Array) -> Array:
            return sde.scale(root, t, sde.scale(sigma, t, y))

        if of_kernel:
            sde = check_kind(sde, LinearSDE, "an objective that compares with the score of the kernel q(x_t | x_0)")
            noise = keys_lib.normal(keys, x0.shape, x0.dtype)
            x, of_noise = sde.perturb(x0, t, noise), sde.scale(root, t, noise)
            given = {"truth": lambda y: -of_noise}
        else:
            # Two streams: what the objective draws must not depend on the noise in `x`.
            x, keys = (diffuse or sde.corrupt)(keys_lib.fold_in(keys, 0), x0, t), keys_lib.fold_in(keys, 1)
            given = {}
        losses = objective(keys, _around(score, x, t, in_units), jnp.zeros_like(x), **given)
        losses = 2.0 * reduction_factor(reduction, x0.shape[1:]) * losses
        return (losses if added is None else losses + added) / time_density(sde, t, time_sampling)

    return timed


def _around(score: Score, x: Array, t: Array, in_units: Callable[[Array], Array]) -> StaticScore:
    """The score in the units of the noise around `x`; where there are more points `y` than `x`, they come in turns."""

    def at(y: Array) -> tuple[Array, Array]:
        turns = len(y) // len(x)
        parts = [x + in_units(part) for part in jnp.split(y, turns)]
        return jnp.concatenate(parts), jnp.tile(t, turns)

    def of_score(y: Array) -> Array:
        points, times = at(y)
        found = doors.field(points, score(points, times))
        return jnp.concatenate([in_units(part) for part in jnp.split(found, len(y) // len(x))])

    energy = energy_of(score)
    return of_score if energy is None else EnergyScore(lambda y: energy(*at(y)))
