"""NCSNv2's rules for noise levels: how large, how many, and what Langevin step (Song & Ermon, arXiv 2006.09011)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class NoiseLevels(NamedTuple):
    """What `suggest` returns: arguments for `smld`, or `ve`, and for `samplers.annealed_langevin`.

    Attributes:
        sigma_min: the smallest noise.
        sigma_max: the largest noise, the largest distance between two examples.
        n: number of levels.
        epsilon: Langevin step size at the smallest noise.
        steps: Langevin updates at each level.
    """

    sigma_min: float
    sigma_max: float
    n: int
    epsilon: float
    steps: int


def suggest(data: np.ndarray, *, sigma_min: float = 0.01, steps: int = 5, limit: int = 20_000) -> NoiseLevels:
    """Return noise levels and a Langevin step size for a data set by techniques 1, 2 and 4 of NCSNv2.

        levels = scorejax.ncsnv2_levels.suggest(data)
        sde = smld(levels.sigma_min, levels.sigma_max, levels.n)
        stepper = samplers.annealed_langevin(levels.epsilon, levels.steps)

    Args:
        data: examples in model units, `[N, ...]`.
        sigma_min: the smallest noise, invisible in the data; 0.01 for images in [0, 1].
        steps: Langevin updates that can be afforded at each level.
        limit: most examples to compare pair by pair, see `largest_distance`.

    Raises:
        ValueError: if the data are fewer than two examples or closer together than `sigma_min`.
    """
    dims, sigma_max = math.prod(data.shape[1:]), largest_distance(data, limit=limit)
    n = number_of_levels(dims, sigma_min, sigma_max)
    return NoiseLevels(
        sigma_min, sigma_max, n, step_size(level_ratio(sigma_min, sigma_max, n), steps, sigma_min), steps
    )


def largest_distance(data: np.ndarray, *, limit: int = 20_000, block: int = 1024) -> float:
    """Return the largest Euclidean distance between two examples, the `sigma_max` of technique 1.

    Pairs are compared in the order of their distances from the mean of the data, farthest first, and no further than
    those two add up to more than the largest distance found. Exact for up to `limit` examples; of a larger set only
    the `limit` farthest from the mean are compared, which gives a lower bound.

    Time grows as `min(N, limit)^2 D` at worst, and much slower where a few examples stand out, as dark and bright
    images do. Memory: `block (block + D)` numbers.

    Args:
        data: examples `[N, ...]`, of any number type, in model units.
        limit: most examples to compare pair by pair.
        block: examples compared at once.

    Raises:
        ValueError: on fewer than two examples.
    """
    if len(data) < 2:
        raise ValueError(f"a distance needs at least two examples, got {len(data)}")
    starts = range(0, len(data), block)
    center = (np.sum([_rows(data, slice(i, i + block)).sum(0) for i in starts], axis=0) / len(data)).astype(np.float32)
    radii = np.concatenate([np.linalg.norm(_rows(data, slice(i, i + block)) - center, axis=1) for i in starts])
    order = np.argsort(-radii)[:limit]
    best, pair = 0.0, (0, 1)
    for i in range(0, len(order), block):
        left = _rows(data, order[i : i + block]) - center
        for j in range(i, len(order), block):
            # By the triangle inequality no pair of this block or a later one can be farther apart.
            if radii[order[i]] + radii[order[j]] < best:
                break
            right = _rows(data, order[j : j + block]) - center
            squares = np.sum(left**2, 1)[:, None] + np.sum(right**2, 1) - 2.0 * left @ right.T
            a, b = np.unravel_index(np.argmax(squares), squares.shape)
            if squares[a, b] > best**2:
                best, pair = float(np.sqrt(squares[a, b])), (order[i + a], order[j + b])
    # float32 chose the pair
    ends = np.asarray(data[list(pair)], np.float64)
    return float(np.linalg.norm(ends[0] - ends[1]))


def level_overlap(ratio: float, dims: int) -> float:
    """Return the probability that noise of one level has a length typical of the next larger level (technique 2).

        C = Phi( sqrt(2 D) (ratio - 1) + 3 ratio ) - Phi( sqrt(2 D) (ratio - 1) - 3 ratio )

    The length of `D`-dimensional noise of scale `sigma` is about `N(sigma sqrt(D), sigma^2 / 2)`; typical is what
    lies within three standard deviations. NCSNv2 asks for about one half.

    Args:
        ratio: of neighboring noise scales, larger than one.
        dims: `D`.
    """
    shift = math.sqrt(2.0 * dims) * (ratio - 1.0)
    return _normal_cdf(shift + 3.0 * ratio) - _normal_cdf(shift - 3.0 * ratio)


def level_ratio(sigma_min: float, sigma_max: float, n: int) -> float:
    """Return the ratio of neighboring noise scales of `n` geometric levels."""
    return (sigma_max / sigma_min) ** (1.0 / (n - 1))


def number_of_levels(dims: int, sigma_min: float, sigma_max: float, overlap: float = 0.5) -> int:
    """Return the least number of geometric levels whose neighbors overlap enough (technique 2).

    Args:
        dims: `D`, the number of values of an example.
        sigma_min: the smallest noise.
        sigma_max: the largest noise.
        overlap: least `level_overlap`. One half is the paper's rule; its published schedules have 0.567, 232 levels
            for CIFAR-10 where one half asks for 219.

    Raises:
        ValueError: unless `0 < sigma_min < sigma_max`, `0 < overlap < 0.99` and `D >= 18`; below, lengths vary so much
            that the rule is content with ratios over two.
    """
    if dims < 18:
        raise ValueError(
            f"number_of_levels is a rule for many dimensions, at least 18, got {dims}; choose the number yourself, "
            "for instance so that neighboring noise scales have a ratio of about 1.5"
        )
    if not 0.0 < sigma_min < sigma_max:
        raise ValueError(f"need 0 < sigma_min < sigma_max, got sigma_min={sigma_min}, sigma_max={sigma_max}")
    if not 0.0 < overlap < 0.99:
        raise ValueError(f"overlap must lie in (0, 0.99), got {overlap}; NCSNv2 uses about 0.5")
    low, high = 2, 2
    # The overlap grows with the number of levels: double until it is enough, then bisect.
    while level_overlap(level_ratio(sigma_min, sigma_max, high), dims) < overlap:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = level_overlap(level_ratio(sigma_min, sigma_max, middle), dims) >= overlap
        low, high = (low, middle) if enough else (middle, high)
    return high


def variance_after(ratio: float, steps: int, relative: float | np.ndarray) -> float | np.ndarray:
    """Return the noise variance after a level's updates over what it should be, technique 4's `s_T^2 / sigma_i^2`.

        (1 - r)^{2 T} (ratio^2 - q) + q,   q = 1 / (1 - r / 2),   r = epsilon / sigma_min^2

    for data that are one point, which arrives with the level's next larger noise. `q` is where it ends up after
    many steps: Langevin steps of a finite size widen the law.

    Args:
        ratio: of neighboring noise scales.
        steps: updates at each level, `T`.
        relative: `r`, the step size in units of the smallest variance.
    """
    limit = 1.0 / (1.0 - 0.5 * relative)
    return (1.0 - relative) ** (2 * steps) * (ratio**2 - limit) + limit


def step_size(ratio: float, steps: int, sigma_min: float) -> float:
    """Return the `epsilon` whose `variance_after` is nearest to one (technique 4), to four digits.

    It is always above one: small steps leave the larger noise of the level before, long ones widen the law.

    Args:
        ratio: of neighboring noise scales.
        steps: updates at each level.
        sigma_min: the smallest noise.

    Raises:
        ValueError: unless `ratio > 1`, `steps >= 1` and `sigma_min > 0`.
    """
    if not (ratio > 1.0 and steps >= 1 and sigma_min > 0.0):
        raise ValueError(
            f"step_size needs ratio > 1, steps >= 1 and sigma_min > 0, got {ratio}, steps={steps}, {sigma_min}"
        )
    relative = np.geomspace(1e-6, 1.0, 200_001)
    return float(relative[np.argmin(variance_after(ratio, steps, relative))] * sigma_min**2)


def _rows(data: np.ndarray, index) -> np.ndarray:
    rows = np.asarray(data[index], np.float32)
    return rows.reshape(len(rows), -1)


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))
