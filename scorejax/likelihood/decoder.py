"""The last factor of a variational bound: the probability of a gray level under a Gaussian or a logistic law."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.likelihood.gray_levels import check_examples, check_gray_levels
from scorejax.numerics import doors

CDFS = ("exact", "tanh")


def data_points(x0: Array, levels: int | None, *, centered: bool = True, endpoints: bool = False) -> Array:
    """Return data as points of model space: as they are without levels, else those of their levels.

    Raises:
        ValueError: on integers without levels, levels that there are not, or numbers that are not finite.
    """
    if levels is None and jnp.issubdtype(jnp.asarray(x0).dtype, jnp.integer):
        raise ValueError(f"integer data need levels=..., their number, got x0 of {jnp.asarray(x0).dtype}, levels=None")
    if levels is None:
        return doors.points(x0, "x0")
    return level_points(x0, levels, centered=centered, endpoints=endpoints)


def level_points(examples: Array, levels: int, *, centered: bool = True, endpoints: bool = False) -> Array:
    """Return the points of model space at which levels lie; points of model space move to those of their bins.

    Level `k` of `L` is at `(k + 1/2) / L` of the unit interval, the middle of its bin, or with `endpoints` at
    `k / (L - 1)`, as in the code of DDPM and of Score-SDE; then `2 y - 1` if centered.

    Args:
        examples: integer levels, or points of model space (dequantized or not).
        levels: how many levels there are.
        centered: model space is [-1, 1) instead of [0, 1).
        endpoints: the published convention.

    Raises:
        ValueError: unless `2 <= levels <= 256` and the examples are levels or finite floating numbers.
    """
    check_gray_levels(levels)
    if jnp.issubdtype(jnp.asarray(examples).dtype, jnp.integer):
        level = check_examples(examples, levels).astype(jnp.result_type(float))
    else:
        examples = doors.points(examples, "examples")
        unit = (examples + 1.0) / 2.0 if centered else examples
        nearest = jnp.round(unit * (levels - 1)) if endpoints else jnp.floor(unit * levels)
        level = jnp.clip(nearest, 0, levels - 1)
    unit = level / (levels - 1) if endpoints else (level + 0.5) / levels
    return 2.0 * unit - 1.0 if centered else unit


def level_log_prob(
    points: Array,
    mean: Array,
    variance: Array,
    levels: int,
    *,
    centered: bool = True,
    endpoints: bool = False,
    cdf: str = "exact",
) -> Array:
    """Return `log P(level)` in nats of a Gaussian cut into the bins of the levels, elementwise.

        P = Phi((x + h - mean) / sd) - Phi((x - h - mean) / sd),   2 h the distance of two levels

    The bins of the first and the last level are open (DDPM, arXiv 2006.11239, eq. 13), so that the levels' sum to 1.

    Args:
        points: from `level_points` with the same options.
        mean: means in model space.
        variance: variances, broadcastable to `points`.
        levels: how many levels there are.
        centered: as in `level_points`.
        endpoints: as in `level_points`.
        cdf: `exact`, in logarithms that do not underflow, or `tanh`, the approximation of the published code
            (`(1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2`, off by 1.8e-4 at most; probabilities at least 1e-12).

    Raises:
        ValueError: on an unknown cdf, or unless `2 <= levels <= 256`.
    """
    check_gray_levels(levels)
    if cdf not in CDFS:
        raise ValueError(f"unknown cdf {cdf!r}; choose one of {', '.join(CDFS)}")
    half = (1.0 if centered else 0.5) / (levels - 1 if endpoints else levels)
    first, last = _ends(points, levels, half, centered=centered, endpoints=endpoints)
    sd = jnp.sqrt(variance)
    upper, lower = (points + half - mean) / sd, (points - half - mean) / sd
    if cdf == "tanh":
        above = jnp.where(last, 1.0, _tanh_cdf(upper))
        below = jnp.where(first, 0.0, _tanh_cdf(lower))
        return jnp.log(jnp.maximum(above - below, 1e-12))
    # in the right tail both values of Phi are nearly 1: there the interval is mirrored
    mirrored = upper + lower > 0.0
    near, far = jnp.where(mirrored, -lower, upper), jnp.where(mirrored, -upper, lower)
    open_ends = jnp.where(first, jax.scipy.special.log_ndtr(upper), jax.scipy.special.log_ndtr(-lower))
    log_near, gap = jax.scipy.special.log_ndtr(near), _log_ratio(near, far)
    return jnp.where(first | last, open_ends, log_near + jnp.log(-jnp.expm1(-gap)))


def logistic_level_log_prob(
    points: Array, mean: Array, log_scale: Array, levels: int, *, centered: bool = True
) -> Array:
    """Return `log P(level)` in nats of a logistic law cut into the bins of the levels, elementwise.

        P = sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)),   a, b = (x +- h - mean) / scale

    with open first and last bins, as in `level_log_prob` (PixelCNN++, arXiv 1701.05517, section 2.1; its tails are
    heavier than those of a Gaussian, so that a gray level that nobody expected costs less). Nothing underflows.

    Args:
        points: from `level_points`, levels at the middle of their bins.
        mean: means in model space.
        log_scale: logs of the scales, broadcastable to `points`; the standard deviation is `pi / sqrt(3)` scales.
        levels: how many levels there are.
        centered: as in `level_points`.

    Raises:
        ValueError: unless `2 <= levels <= 256`.
    """
    check_gray_levels(levels)
    half = (1.0 if centered else 0.5) / levels
    first, last = _ends(points, levels, half, centered=centered, endpoints=False)
    inverse = jnp.exp(-log_scale)
    below_upper = jax.nn.log_sigmoid((points + half - mean) * inverse)
    above_lower = jax.nn.log_sigmoid((mean - points + half) * inverse)
    inside = below_upper + above_lower + jnp.log(-jnp.expm1(-2.0 * half * inverse))
    return jnp.where(first, below_upper, jnp.where(last, above_lower, inside))


def gaussian_log_prob(x: Array, mean: Array, variance: Array) -> Array:
    """Return the log density of a Gaussian in nats, elementwise."""
    return -0.5 * ((x - mean) ** 2 / variance + jnp.log(2.0 * math.pi * variance))


def _ends(points: Array, levels: int, half: float, *, centered: bool, endpoints: bool) -> tuple[Array, Array]:
    """Return which points are those of the first and of the last level."""
    scale = 2.0 if centered else 1.0
    edge = 0.0 if endpoints else 0.5 / levels  # where the first level lies, in the unit interval
    low = scale * edge - (1.0 if centered else 0.0) + half
    high = scale * (1.0 - edge) - (1.0 if centered else 0.0) - half
    return points < low, points > high


def _log_ratio(near: Array, far: Array) -> Array:
    """Return `log Phi(near) - log Phi(far)`, at least the smallest positive number."""
    gap = jax.scipy.special.log_ndtr(near) - jax.scipy.special.log_ndtr(far)
    return jnp.maximum(gap, jnp.finfo(gap.dtype).tiny)


def _tanh_cdf(z: Array) -> Array:
    return 0.5 * (1.0 + jnp.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)))
