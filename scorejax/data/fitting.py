"""How a map to model space is fitted to training data: statistics of each channel, in float64, a block at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from scorejax.data import notice
from scorejax.data.encoding import Levels
from scorejax.data.evaluation import spread
from scorejax.data.lazy import Examples, blocks
from scorejax.data.maps import ChannelMap, Normalization, Transform, transformed

KNOTS = 256
_MOST = 2**22  # numbers that quantiles are computed of; of more examples, those spread evenly over them
_ROUNDING = 1e-3  # of a deviation: the rounding error that a model does not see
_LEAST = float(np.finfo(np.float32).tiny)  # devices see 0 in place of smaller numbers
_CONSTANT = 1e-14  # of the largest number: a spread that float64 itself made by rounding


@dataclass(frozen=True)
class Statistics:
    """What is known of each channel, of the numbers that are there: NaN is not.

    Attributes:
        count: how many numbers, `[C]`.
        mean: theirs, `[C]`.
        squares: the sum of their squared distances from it, `[C]`.
        low: the smallest, `[C]`.
        high: the largest, `[C]`.
    """

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Statistics:
        """The statistics of numbers `[..., C]`."""
        x = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
        there = np.isfinite(x)
        if there.all():
            count, mean = np.full(x.shape[1], len(x)), x.mean(0)
            return cls(count, mean, np.square(x - mean).sum(0), x.min(0), x.max(0))
        count = there.sum(0)
        mean = np.where(there, x, 0.0).sum(0) / np.maximum(count, 1)
        squares = np.square(np.where(there, x - mean, 0.0)).sum(0)
        low, high = np.where(there, x, np.inf).min(0), np.where(there, x, -np.inf).max(0)
        return cls(count, mean, squares, low, high)

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both together (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        step = other.mean - self.mean
        return Statistics(
            count,
            self.mean + step * share,
            self.squares + other.squares + np.square(step) * self.count * share,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def variance(self) -> np.ndarray:
        """The mean squared distance from the mean, `[C]`."""
        return self.squares / np.maximum(self.count, 1)


def statistics(parts: Iterator[np.ndarray], convert: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Statistics:
    """Return the statistics of all blocks `[n, ..., C]`, each converted first."""
    found = [Statistics.of(convert(part)) for part in parts]
    total = found[0]
    for part in found[1:]:
        total = total.merge(part)
    return total


def fit(
    examples: Examples,
    levels: Levels | None = None,
    *,
    normalize: Normalization = "standard",
    transform: Transform = "none",
    per_channel: bool = True,
    name: str = "data",
) -> ChannelMap:
    """Return the map to model space, fitted to training examples `[N, ..., C]`.

    * `standard`: mean 0 and deviation 1 in every channel; a constant channel keeps its scale.
    * `range`: from the smallest to the largest number, or over all levels, to [-1, 1].
    * `quantile`: a normal law, by a piecewise linear distribution function between 256 quantiles.
    * `none`: as they are; counted numbers are then one unit wide for each level.

    Without a transform, counted numbers are mapped as `k + u`: the number of their level, and the place within it that
    dequantization draws.

    Args:
        examples: in the user's units.
        levels: of counted numbers.
        normalize: see above; `auto` is `standard`.
        transform: what is taken of every number first.
        per_channel: one mean, but no scale of its own for each channel, if false: what a field of vectors needs.
        name: of the data, for messages.

    Raises:
        ValueError: a number that the transform is not defined at, or values of a column that are equal in float32.
    """
    mode: Normalization = "standard" if normalize == "auto" else normalize
    counted = levels is not None and transform == "none"

    def values(block: np.ndarray) -> np.ndarray:
        if counted:
            assert levels is not None
            return levels.index(block, name) + 0.5
        return transformed(transform, np.asarray(block, np.float64))

    if transform in ("log", "log1p"):
        _check_domain(examples, levels, transform, name)
    found = statistics(blocks(examples), values)
    if mode == "none":
        if levels is None:
            _check_single(found, name)
        return ChannelMap("none", transform)
    _mention_constant(found, levels if counted else None, name)
    if mode == "quantile":
        return _quantiles(examples, values, transform, per_channel, counted)
    if mode == "range":
        low, high = (np.zeros(1), np.full(1, levels.count)) if counted and levels else (found.low, found.high)
        if not per_channel:
            low, high = low.min(keepdims=True), high.max(keepdims=True)
        shift, scale = (low + high) / 2, (high - low) / 2
    else:
        variance = found.variance + (1 / 12 if counted else 0.0)
        _check_deviation(found, name)
        shift, scale = found.mean, np.sqrt(variance if per_channel else variance.mean(keepdims=True))
        if counted:  # exact in float32, in which levels are mapped
            shift = np.rint(2 * shift) / 2
    if counted:
        scale = scale.astype(np.float32).astype(np.float64)
    scale = np.where((scale > 0) & ~_constant(found, scale), scale, 1.0)
    return ChannelMap(mode, transform, _floats(shift), _floats(scale))


def _constant(found: Statistics, scale: np.ndarray) -> np.ndarray:
    """Which scales are those of constant channels."""
    flat = found.high - found.low <= _CONSTANT * np.maximum(abs(found.low), abs(found.high))
    return flat if len(scale) == len(flat) else np.full(len(scale), flat.all())


def _mention_constant(found: Statistics, levels: Levels | None, name: str) -> None:
    flat = np.flatnonzero(_constant(found, found.mean))
    if not len(flat):
        return
    value = found.low[flat[0]]
    value = levels.lo + levels.quantum * (value - 0.5) if levels else value
    more = f" (and {len(flat) - 1} more)" if len(flat) > 1 else ""
    notice.warn(
        f"{name}: channel {flat[0]}{more} is constant, {value:.6g} in every training example: its density grows "
        "without bound, so that log-likelihoods say little; leave it out"
    )


def _check_deviation(found: Statistics, name: str) -> None:
    """Refuse a spread whose square underflows."""
    lost = np.flatnonzero((found.squares == 0) & ~_constant(found, found.mean))
    if len(lost):
        i, largest = lost[0], max(abs(found.low[lost[0]]), abs(found.high[lost[0]]))
        raise ValueError(
            f"{name}: column {i}: its values lie so close to 0 (the largest is {largest:.3g}) that their squares are "
            f"0; divide by {largest:.3g}"
        )


def _check_single(found: Statistics, name: str) -> None:
    """Refuse numbers that float32, in which they are taken as they are, cannot tell apart."""
    largest, deviation = np.maximum(abs(found.low), abs(found.high)), np.sqrt(found.variance)
    rounding = np.maximum(np.spacing(largest.astype(np.float32)).astype(np.float64) / 12**0.5, _LEAST)
    lost = np.flatnonzero((rounding > _ROUNDING * deviation) & ~_constant(found, found.mean))
    if len(lost):
        i = lost[0]
        raise ValueError(
            f"{name}: column {i}: its values (mean {found.mean[i]:.3g}, deviation {deviation[i]:.3g}) are such that "
            "float32 cannot tell them apart; set data.normalize=standard, or subtract the mean and divide by the "
            "deviation"
        )


def _check_domain(examples: Examples, levels: Levels | None, transform: str, name: str) -> None:
    low = statistics(blocks(examples)).low
    bound = 0.0 if transform == "log" else -1.0
    i = int(np.argmin(low))
    if low[i] <= bound:
        raise ValueError(
            f"{name}: data.transform = {transform} needs numbers above {bound:g}, but the smallest of channel {i} is "
            f"{low[i]:.6g}; set data.transform=asinh, which takes any number"
            f"{', or log1p' if transform == 'log' and low[i] > -1 else ''}"
        )


def _quantiles(
    examples: Examples,
    values: Callable[[np.ndarray], np.ndarray],
    transform: Transform,
    per_channel: bool,
    counted: bool,
) -> ChannelMap:
    each = int(np.prod(examples.shape[1:], dtype=np.int64))
    x = values(np.asarray(examples[spread(len(examples), max(KNOTS, _MOST // each))]))
    if counted:  # spread over their levels, as dequantization does
        x = x - 0.5 + np.random.default_rng(0).random(x.shape)
    x = x.reshape(-1, x.shape[-1]) if per_channel else x.reshape(-1, 1)
    share = (np.arange(KNOTS) + 0.5) / KNOTS
    knots, shares = [], []
    for channel in x.T:
        known = channel[np.isfinite(channel)]
        z, first = np.unique(np.quantile(known, share), return_index=True)
        if len(z) < 2:  # a constant channel
            z, p = z[0] + np.asarray([-0.5, 0.5]), np.asarray([share[0], share[-1]])
        else:
            last = np.append(first[1:] - 1, KNOTS - 1)
            p = (share[first] + share[last]) / 2  # equal quantiles are one place, half of whose mass lies below it
        # All channels have as many knots: those that fell together are made up by points between the others.
        knots.append(np.interp(np.linspace(0, len(z) - 1, KNOTS), np.arange(len(z)), z))
        shares.append(np.interp(np.linspace(0, len(z) - 1, KNOTS), np.arange(len(z)), p))
    return ChannelMap("quantile", transform, knots=tuple(map(_floats, knots)), shares=tuple(map(_floats, shares)))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values))
