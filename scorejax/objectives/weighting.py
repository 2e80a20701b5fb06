"""What all objectives share: weights `w(t)` of the squared noise error, and sums over an example's dimensions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics.ranges import NonNegative, Positive
from scorejax.scores import below
from scorejax.sdes.corruption import SDE, check_kind
from scorejax.sdes.linear import LinearSDE

Weighting: TypeAlias = str | Callable[..., Any]
"""A name in `WEIGHTINGS`, or a function `(sde, t) -> [B]`; `[B, ...]` for a weight per mode, `Trained` for one that is
trained."""
Reduction: TypeAlias = Literal["mean", "sum", "half_sum"]

REDUCTIONS = get_args(Reduction)


class Trained(NamedTuple):
    """A weight that is trained with the network.

    Attributes:
        weight: of the squared noise error.
        added: `[B]`, to the reduced loss; without it no weight would be the best.
    """

    weight: Array
    added: Array


def _of_data(function: Callable[..., Any]) -> Callable[..., Any]:
    """A weighting that needs `alpha_t` and `sigma_t`; another process is refused with the reason."""

    @functools.wraps(function)
    def checked(sde: SDE, t: Array, **settings: Any) -> Any:
        check_kind(sde, LinearSDE, f"the weighting {function.__name__!r}, which is of predicted data,")
        return function(sde, t, **settings)

    return checked


def simple(sde: SDE, t: Array) -> Array:
    """Every noise error counts the same: `sigma^2` on the score (Score-SDE, DDPM's L_simple)."""
    return jnp.ones_like(t)


def likelihood(sde: SDE, t: Array) -> Array:
    """`g^2` on the score: the bound of the likelihood (Song et al., arXiv 2101.09258)."""
    return sde.diffusion_squared(t) / sde.noise_variance(t)


@_of_data
def snr(sde: LinearSDE, t: Array) -> Array:
    """SNR times the data error, which is `simple` again."""
    return jnp.ones_like(t)


@_of_data
def data(sde: LinearSDE, t: Array) -> Array:
    """The squared error of predicted data."""
    return jnp.exp(-sde.log_snr(t))


@_of_data
def truncated_snr(sde: LinearSDE, t: Array) -> Array:
    """The larger of the errors of data and noise (Salimans and Ho, arXiv 2202.00512)."""
    return jnp.maximum(jnp.exp(-sde.log_snr(t)), 1.0)


@_of_data
def min_snr(sde: LinearSDE, t: Array, *, gamma: Positive = 5.0) -> Array:
    """`min(SNR, gamma)` times the data error (Hang et al., arXiv 2303.09556).

    Args:
        sde: the forward process.
        t: times `[B]`.
        gamma: the largest weight of a data error.
    """
    return jnp.minimum(1.0, gamma * jnp.exp(-sde.log_snr(t)))


@_of_data
def soft_min_snr(sde: LinearSDE, t: Array, *, gamma: Positive = 4.0) -> Array:
    """`gamma / (gamma + SNR)`, a smooth `min_snr` (Crowson et al., arXiv 2401.11605).

    Args:
        sde: the forward process.
        t: times `[B]`.
        gamma: the signal-to-noise ratio at which the weight of the noise error is 1/2.
    """
    return 1.0 / (1.0 + jnp.exp(sde.log_snr(t)) / gamma)


@_of_data
def p2(sde: LinearSDE, t: Array, *, k: Positive = 1.0, gamma: NonNegative = 1.0) -> Array:
    """`(k + SNR)^-gamma`: less weight for what the eye does not see (Choi et al., arXiv 2204.00227).

    Args:
        sde: the forward process.
        t: times `[B]`.
        k: ratios below it count alike.
        gamma: how much less larger ratios count.
    """
    return (k + jnp.exp(sde.log_snr(t))) ** -gamma


@_of_data
def edm(sde: LinearSDE, t: Array, *, sigma_data: Positive = 0.5) -> Array:
    """`1 + r^2 / sigma_data^2`, `r = sigma / alpha`: of the output of EDM's network the weight 1.

    `(r^2 + sigma_data^2) / (r sigma_data)^2` times the data error (Karras et al., arXiv 2206.00364, table 1).
    """
    return 1.0 + jnp.exp(-sde.log_snr(t)) / sigma_data**2


@_of_data
def velocity(sde: LinearSDE, t: Array) -> Array:
    """The squared error of the velocity of the probability flow; with `flow`, flow matching (arXiv 2210.02747)."""
    return 0.25 * sde.diffusion_squared(t) ** 2 / sde.variance(t)


@_of_data
def sharpening(sde: LinearSDE, t: Array) -> Array:
    """Of chains alone: the squared error of the prediction of this name (arXiv 2206.13397)."""
    return below.weights(sde, t, "sharpening")[1] ** 2 / sde.variance(t)


FIXED_WEIGHTINGS: Mapping[str, Callable[..., Array]] = {
    "simple": simple,
    "likelihood": likelihood,
    "snr": snr,
    "data": data,
    "truncated_snr": truncated_snr,
    "min_snr": min_snr,
    "soft_min_snr": soft_min_snr,
    "p2": p2,
    "edm": edm,
    "velocity": velocity,
    "sharpening": sharpening,
}
"""Weights of the squared *noise* error that are given."""

COEFFICIENTS = 128
"""Of the trained part of `uncertainty`."""


def log_error(coefficients: Array, sde: LinearSDE, t: Array) -> Array:
    """Return `u(r) = sum_i a_i sqrt(2) cos(2 pi (f_i ln(r) / 4 + phi_i))`, `[B]`, of `uncertainty`.

    The frequencies are quantiles of a standard normal law and the phases are spread evenly, so that nothing is drawn.

    Args:
        coefficients: `a [128]`.
        sde: the forward process.
        t: times `[B]`.
    """
    place = jnp.arange(COEFFICIENTS, dtype=coefficients.dtype)
    frequency = jax.scipy.special.ndtri((place + 0.5) / COEFFICIENTS)
    phase = jnp.mod(place * ((math.sqrt(5.0) - 1.0) / 2.0), 1.0)
    label = -0.125 * sde.mean_log_snr(t)  # ln(r) / 4
    waves = math.sqrt(2.0) * jnp.cos(2.0 * math.pi * (frequency * label[:, None] + phase))
    return waves @ coefficients


@_of_data
def uncertainty(sde: LinearSDE, t: Array, *, coefficients: Array | None = None, base: Weighting = "edm") -> Trained:
    """Each level in units of its own error: `e^-u(r) w error + u(r)` with a trained `u` (arXiv 2312.02696).

    The best `u` is `ln E[w error | r]`, where the loss of every level is `1 + u`, and no level drowns another.

    Args:
        sde: the forward process.
        t: times `[B]`.
        coefficients: of `u`, see `log_error`; they are trained with the network, and are no part of the score.
        base: the weighting `w`, one that is not trained.

    Raises:
        ValueError: no coefficients, or a base that is trained too.
    """
    if coefficients is None:
        raise ValueError(
            "the weighting 'uncertainty' has coefficients that are trained with the network; give it as "
            f"functools.partial(uncertainty, coefficients=a) with a of the shape ({COEFFICIENTS},)"
        )
    found = weight(base, sde, t)
    if isinstance(found, Trained):
        raise ValueError(
            f"the base of the weighting 'uncertainty' is trained too; choose one of {', '.join(FIXED_WEIGHTINGS)}"
        )
    u = log_error(coefficients, sde, t)
    return Trained(found * jnp.exp(-u).reshape(-1, *[1] * (found.ndim - 1)), u)


WEIGHTINGS: Mapping[str, Callable[..., Any]] = {**FIXED_WEIGHTINGS, "uncertainty": uncertainty}
"""Weights of the squared *noise* error by name: functions `(sde, t, *, settings)`."""


def weight(weighting: Weighting, sde: SDE, t: Array) -> Array | Trained:
    """Return the weight of the squared noise error at times `t [B]`: `[B]`, or `[B, ...]` for a weight per mode.

    Raises:
        ValueError: on an unknown name, or one that a process without a signal-to-noise ratio cannot have.
    """
    if callable(weighting):
        return weighting(sde, t)
    if weighting not in WEIGHTINGS:
        raise ValueError(f"unknown weighting {weighting!r}; choose one of {', '.join(WEIGHTINGS)}, or give a function")
    return WEIGHTINGS[weighting](sde, t)


def reduction_factor(reduction: str, shape: tuple[int, ...]) -> float:
    """Return what the sum over an example of this shape is multiplied by: 1 / D, 1 or 1/2.

    Raises:
        ValueError: on an unknown reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; choose one of {', '.join(REDUCTIONS)}")
    return {"mean": 1.0 / math.prod(shape), "sum": 1.0, "half_sum": 0.5}[reduction]
