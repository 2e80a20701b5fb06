"""What all objectives share: weights `w(t)` of the squared noise error, and sums over an example's dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import jax.numpy as jnp
from jax import Array

from scorejax.scores import below
from scorejax.sdes.corruption import SDE, check_kind
from scorejax.sdes.linear import LinearSDE

WeightingName: TypeAlias = Literal[
    "simple",
    "likelihood",
    "snr",
    "data",
    "truncated_snr",
    "min_snr",
    "soft_min_snr",
    "p2",
    "edm",
    "velocity",
    "sharpening",
]
Weighting: TypeAlias = WeightingName | Callable[..., Array]
Reduction: TypeAlias = Literal["mean", "sum", "half_sum"]

WEIGHTINGS: dict[str, Callable[..., Array]] = {
    "simple": lambda sde, t: jnp.ones_like(t),
    "likelihood": lambda sde, t: sde.diffusion_squared(t) / sde.noise_variance(t),
    "snr": lambda sde, t: jnp.ones_like(t),
    "data": lambda sde, t: jnp.exp(-sde.log_snr(t)),
    "truncated_snr": lambda sde, t: jnp.maximum(jnp.exp(-sde.log_snr(t)), 1.0),
    "min_snr": lambda sde, t: jnp.minimum(1.0, 5.0 * jnp.exp(-sde.log_snr(t))),
    "soft_min_snr": lambda sde, t: soft_min_snr(sde, t),
    "p2": lambda sde, t: p2(sde, t),
    "edm": lambda sde, t: edm(sde, t),
    "velocity": lambda sde, t: 0.25 * sde.diffusion_squared(t) ** 2 / sde.variance(t),
    "sharpening": lambda sde, t: below.weights(sde, t, "sharpening")[1] ** 2 / sde.variance(t),
}
"""Weights of the squared *noise* error: `simple` is lambda = sigma^2 on the score (Score-SDE, DDPM's L_simple),
`likelihood` is lambda = g^2, `snr` is SNR times the data error (`simple` again), `data` is the squared error of the
data prediction, `truncated_snr` is the larger of the data and noise errors (arXiv 2202.00512), `min_snr` is
`min(SNR, 5)` times the data error (arXiv 2303.09556), `soft_min_snr`, `p2` and `edm` are the functions of these names
at their defaults, `velocity` is the squared error of the velocity of the probability flow, on `flow` that of flow
matching (arXiv 2210.02747), `sharpening`, of chains alone, the squared error of that
prediction (arXiv 2206.13397)."""

REDUCTIONS = get_args(Reduction)
OF_SCORES = ("simple", "likelihood")  # and so for every process with a score


def soft_min_snr(sde: LinearSDE, t: Array, *, gamma: float = 4.0) -> Array:
    """Return `gamma / (gamma + SNR)`, a smooth `min_snr` (Crowson et al., arXiv 2401.11605)."""
    return 1.0 / (1.0 + jnp.exp(sde.log_snr(t)) / gamma)


def p2(sde: LinearSDE, t: Array, *, k: float = 1.0, gamma: float = 1.0) -> Array:
    """Return `(k + SNR)^-gamma`: less weight for what the eye does not see (Choi et al., arXiv 2204.00227)."""
    return (k + jnp.exp(sde.log_snr(t))) ** -gamma


def edm(sde: LinearSDE, t: Array, *, sigma_data: float = 0.5) -> Array:
    """Return `1 + r^2 / sigma_data^2`, `r = sigma / alpha`: of the output of EDM's network the weight 1.

    `(r^2 + sigma_data^2) / (r sigma_data)^2` times the data error (Karras et al., arXiv 2206.00364, table 1).
    """
    return 1.0 + jnp.exp(-sde.log_snr(t)) / sigma_data**2


def weight(weighting: Weighting, sde: SDE, t: Array) -> Array:
    """Return the weight of the squared noise error at times `t [B]`: `[B]`, or `[B, ...]` for a weight per mode.

    Raises:
        ValueError: on an unknown name, or one that a process without a signal-to-noise ratio cannot have.
    """
    if callable(weighting):
        return weighting(sde, t)
    if weighting not in WEIGHTINGS:
        raise ValueError(f"unknown weighting {weighting!r}; choose one of {', '.join(WEIGHTINGS)}, or give a function")
    if weighting not in OF_SCORES:
        check_kind(sde, LinearSDE, f"the weighting {weighting!r}, which is of predicted data,")
    return WEIGHTINGS[weighting](sde, t)


def reduction_factor(reduction: str, shape: tuple[int, ...]) -> float:
    """Return what the sum over an example of this shape is multiplied by: 1 / D, 1 or 1/2.

    Raises:
        ValueError: on an unknown reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; choose one of {', '.join(REDUCTIONS)}")
    return {"mean": 1.0 / math.prod(shape), "sum": 1.0, "half_sum": 0.5}[reduction]
