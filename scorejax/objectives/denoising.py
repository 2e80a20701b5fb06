"""Denoising score matching, continuous and discrete."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from scorejax import keys as keys_lib
from scorejax.objectives.time_sampling import draw_times, time_density
from scorejax.score import Score
from scorejax.sdes.linear import LinearSDE

Weighting = str | Callable[[LinearSDE, Array], Array]

WEIGHTINGS: dict[str, Callable[[LinearSDE, Array], Array]] = {
    "simple": lambda sde, t: jnp.ones_like(t),
    "likelihood": lambda sde, t: sde.diffusion_squared(t) / sde.variance(t),
    "snr": lambda sde, t: jnp.ones_like(t),
    "data": lambda sde, t: jnp.exp(-sde.log_snr(t)),
    "truncated_snr": lambda sde, t: jnp.maximum(jnp.exp(-sde.log_snr(t)), 1.0),
    "min_snr": lambda sde, t: jnp.minimum(1.0, 5.0 * jnp.exp(-sde.log_snr(t))),
}
"""Weights of the squared *noise* error: `simple` is lambda = sigma^2 on the score (Score-SDE, DDPM's L_simple),
`likelihood` is lambda = g^2, `snr` is SNR times the data error (`simple` again), `data` is the squared error of the
data prediction, `truncated_snr` is the larger of the data and noise errors (arXiv 2202.00512), `min_snr` is
`min(SNR, 5)` times the data error (arXiv 2303.09556)."""


def denoising(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    *,
    t: Array | None = None,
    times: str = "uniform",
    weighting: Weighting = "simple",
    reduction: str = "mean",
) -> Array:
    """Return the denoising score matching loss of each example, `[B]` (Vincent 2011; Score-SDE eq. 7).

        loss_b = w(t) / p(t) * reduce( (sigma_t score(x_t, t) + noise)^2 ),   x_t = alpha_t x_0 + sigma_t noise

    Its minimiser is the score of the diffused data. For a discrete chain the times are its levels, which makes
    this the DDPM or SMLD objective. `p` is the density of the time sampler relative to uniform times, so the
    expectation does not depend on the sampler.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`, the model's.
        x0: data, `[B, ...]`, in model units.
        t: times `[B]` drawn outside by `draw_times(..., times)`; drawn here if not given.
        times: how times are drawn: `uniform`, `stratified` or `importance`.
        weighting: a name in `WEIGHTINGS`, or any function `(sde, t) -> [B]` (`[B, ...]` for a weight per mode).
        reduction: over an example's dimensions: `mean`, `sum` or `half_sum`.

    Raises:
        ValueError: on an unknown name.
    """
    time_key, noise_key = _split(key)
    if t is None:
        t = draw_times(time_key, sde, x0.shape[0], times)
    noise = keys_lib.normal(keys_lib.per_example(noise_key, x0.shape[0]), x0.shape, x0.dtype)
    error = sde.scale(sde.sigma(t), t, score(sde.perturb(x0, t, noise), t)) + noise
    weighted = sde.scale(jnp.sqrt(_weight(weighting)(sde, t)), t, error)
    return _reduce(weighted**2, reduction) / time_density(sde, t, times)


def _split(key: Array) -> tuple[Array, Array]:
    if keys_lib.is_batched(key):
        return keys_lib.fold_in(key, 0), keys_lib.fold_in(key, 1)
    return jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)


def _weight(weighting: Weighting) -> Callable[[LinearSDE, Array], Array]:
    if callable(weighting):
        return weighting
    if weighting not in WEIGHTINGS:
        raise ValueError(f"unknown weighting {weighting!r}; choose one of {', '.join(WEIGHTINGS)}, or give a function")
    return WEIGHTINGS[weighting]


def _reduce(squares: Array, reduction: str) -> Array:
    flat = squares.reshape(squares.shape[0], -1)
    reductions = {
        "mean": lambda: flat.mean(1),
        "sum": lambda: flat.sum(1),
        "half_sum": lambda: 0.5 * flat.sum(1),
    }
    if reduction not in reductions:
        raise ValueError(f"unknown reduction {reduction!r}; choose one of {', '.join(reductions)}")
    return reductions[reduction]()
