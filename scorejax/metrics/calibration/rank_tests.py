"""Ranks of the truth among draws: coverage of intervals and regions, and whether the ranks are uniform.

Of S draws of the true posterior and the truth itself none is special, so that the rank of the truth, the number of
draws below it, is uniform on `0 .. S`. Statements about intervals are exact where what they cut off is a whole number
of ranks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.stats import chi2, kstest

from scorejax.metrics.calibration.measured import Measured, mean_of

LEAST = 400
"""Fewest ranks that uniformity is judged by."""


class Uniformity(NamedTuple):
    """Whether ranks are uniform.

    Attributes:
        value: probability of ranks that are less even, if they are uniform: of the chi-squared test, at its least over
            the columns, times their number.
        stderr: NaN; a probability of a test has none.
        kolmogorov: the same of the test of Kolmogorov and Smirnov.
        spread: `12 var(u)` of the ranks on the unit interval, averaged over the columns: 1 where they are uniform, more
            where draws are too narrow, less where they are too wide.
    """

    value: float
    stderr: float
    kolmogorov: float
    spread: Measured


def ranks(key: Array, truth: Array, draws: Array) -> Array:
    """Return how many draws lie below the truth, coordinate by coordinate; ties are broken at random.

    Args:
        key: a typed PRNG key.
        truth: `[...]`.
        draws: `[S, ...]`.
    """
    below, tied = jnp.sum(draws < truth, axis=0), jnp.sum(draws == truth, axis=0)
    share = jax.random.uniform(key, jnp.shape(truth))
    return below + jnp.floor(share * (tied + 1)).astype(below.dtype)


def coverage(ranks: np.ndarray, draws: int, *, level: float = 0.9) -> Measured:
    """Return how often the central interval of the draws holds the truth.

    Between the draws of order `i` and `S + 1 - i` the truth lies with the probability `1 - 2 i / (S + 1)`.

    Args:
        ranks: of the truth, `[R]` or `[R, ...]`; the standard error is over the R replicates.
        draws: S, how many it is a rank among.
        level: nominal coverage; `(1 - level) (S + 1) / 2` must be a whole number.

    Raises:
        ValueError: on a level that so many draws have no interval of.
    """
    cut = _cut("coverage", 0.5 * (1.0 - level), draws)
    inside = (np.asarray(ranks) >= cut) & (np.asarray(ranks) <= draws - cut)
    return mean_of(inside.reshape(len(inside), -1).mean(axis=1))


def hpd(ranks: np.ndarray, draws: int, *, level: float = 0.9) -> Measured:
    """Return how often the region of highest density that holds this share of the draws holds the truth.

    Args:
        ranks: of the density at the truth among the densities at the draws, `[R]`.
        draws: S, how many it is a rank among.
        level: nominal coverage; `(1 - level) (S + 1)` must be a whole number.

    Raises:
        ValueError: as `coverage`.
    """
    cut = _cut("hpd", 1.0 - level, draws)
    return mean_of(np.asarray(ranks) >= cut)


def pit(ranks: np.ndarray, draws: int, *, seed: int = 0) -> np.ndarray:
    """Return ranks as numbers that are uniform on the unit interval where the ranks are: `(r + U) / (S + 1)`."""
    ranks = np.asarray(ranks)
    return (ranks + np.random.default_rng(seed).random(ranks.shape)) / (draws + 1)


def sbc(ranks: np.ndarray, draws: int, *, bins: int = 20, seed: int = 0) -> Uniformity:
    """Test whether ranks are uniform: simulation-based calibration (Talts et al., arXiv 1804.06788).

    Args:
        ranks: of the truth, `[R]` or `[R, K]`, each column tested by itself; replicates must be independent.
        draws: S, how many it is a rank among.
        bins: of the chi-squared test; it must divide `S + 1`.
        seed: of what makes ranks continuous for the second test.

    Raises:
        ValueError: on a number of bins that does not divide the ranks, or fewer than 5 ranks for each.
    """
    if (draws + 1) % bins:
        raise ValueError(
            f"sbc: {bins} bins must divide the {draws + 1} ranks of {draws} draws; take 19, 39 or 99 draws"
        )
    columns = np.asarray(ranks).reshape(len(ranks), -1).T
    expected = columns.shape[1] / bins
    if expected < 5:
        raise ValueError(f"sbc: {bins} bins need at least {5 * bins} replicates, got {columns.shape[1]}")
    counts = np.stack([np.bincount(column * bins // (draws + 1), minlength=bins) for column in columns])
    p = chi2.sf(((counts - expected) ** 2).sum(axis=1) / expected, bins - 1)
    uniform = pit(columns, draws, seed=seed)
    ks = [kstest(column, "uniform").pvalue for column in uniform]
    spread = mean_of(12.0 * ((uniform - uniform.mean(axis=1, keepdims=True)) ** 2).mean(axis=0))
    return Uniformity(_lowest(p), math.nan, _lowest(ks), spread)


def tarp(ranks: np.ndarray, draws: int, *, bins: int = 20) -> Uniformity:
    """Test the coverage of balls around reference points (TARP, Lemos et al., arXiv 2302.03026).

    Args:
        ranks: how many draws are nearer to a reference point than the truth, `[R]`. The point is drawn without a look
            at the truth; it may depend on the measurement. Of all laws of such points at once uniform ranks are enough
            for the true posterior, of one law they are not.
        draws: S, how many draws there are.
        bins: as of `sbc`.

    Raises:
        ValueError: as `sbc`.
    """
    return sbc(ranks, draws, bins=bins)


def _lowest(p: np.ndarray | list[float]) -> float:
    """Return the least of several probabilities, for so many tests (Bonferroni)."""
    return min(1.0, float(np.min(p)) * len(p))


def _cut(name: str, share: float, draws: int) -> int:
    cut = share * (draws + 1)
    if round(cut) < 1 or abs(cut - round(cut)) > 1e-6 * (draws + 1):
        raise ValueError(
            f"{name}: of {draws} draws no {share:.4g} can be cut off exactly, ({draws} + 1) times that is {cut:.4g}; "
            "take 99 draws for levels of 0.9, 0.8 and 0.5"
        )
    return round(cut)
