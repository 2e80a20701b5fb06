"""All figures of calibration from replicates of data, measurement and draws, as one compiled program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.metrics.calibration import errors
from scorejax.metrics.calibration import rank_tests as of_ranks
from scorejax.metrics.calibration.measured import Measured, mean_of
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import PyTree

DIRECTIONS = 32
Simulate: TypeAlias = Callable[[Array], tuple[Array, Array]]
Draw: TypeAlias = Callable[[Array, Array, int], Array]


class ExactMoments(Protocol):
    """What is known of an exact posterior; see `scorejax.worlds`."""

    @property
    def mean(self) -> Array: ...
    @property
    def std(self) -> Array: ...
    @property
    def shares(self) -> Array: ...


class _Replicate(NamedTuple):
    """What is kept of one replicate."""

    ranks: Array
    directions: Array
    density: Array
    references: Array
    crps: Array
    truth: Array
    mean: Array
    std: Array
    shares: Array
    exact_mean: Array
    exact_std: Array
    exact_shares: Array


@dataclass(frozen=True)
class Calibration:
    """What `run` has measured. Every figure has its standard error over the replicates.

    Attributes:
        ranks: of the truth among the draws, coordinate by coordinate, `[R, D]`.
        draws: S, the number of draws.
        level: nominal coverage.
        coverage: of central intervals of the coordinates.
        directions: of central intervals along 32 random directions.
        hpd: of regions of highest density; None without `log_density`.
        tarp: uniformity of the ranks of distances from reference points.
        sbc: uniformity of the ranks of the coordinates.
        crps: continuous ranked probability score.
        gap_db: by how many decibels the mean of the draws is worse than the posterior mean; None without `exact`.
        std_ratio: median of the standard deviation of the draws over the exact one; None without `exact`.
        shares: root mean square error of the shares of the draws in `regions`; None without.
    """

    ranks: np.ndarray
    draws: int
    level: float
    coverage: Measured
    directions: Measured
    hpd: Measured | None
    tarp: of_ranks.Uniformity
    sbc: of_ranks.Uniformity
    crps: Measured
    gap_db: Measured | None
    std_ratio: Measured | None
    shares: Measured | None

    def verdict(self, *, tolerance: float = 0.02) -> str:
        """Return in words whether the coverage of the coordinates is the nominal one, within the tolerance.

        Raises:
            ValueError: with fewer than 400 ranks, of which no coverage can be judged.
        """
        if self.ranks.size < of_ranks.LEAST:
            raise ValueError(
                f"{self.ranks.size} ranks are too few for a verdict on coverage, at least {of_ranks.LEAST} are needed; "
                "give more replicates (calibration.replicates_for says how many)"
            )
        value, error = self.coverage
        if abs(value - self.level) <= tolerance:
            return f"calibrated: {self.level:.0%} intervals hold {value:.1%} +- {error:.1%} of the truths"
        kind = "too narrow" if value < self.level else "too wide"
        return f"{kind}: {self.level:.0%} intervals hold {value:.1%} +- {error:.1%} of the truths"

    def figures(self) -> dict[str, Measured]:
        """Return the figures that were measured, by name."""
        named = {
            "coverage": self.coverage,
            "directions": self.directions,
            "hpd": self.hpd,
            "rank_spread": self.sbc.spread,
            "crps": self.crps,
            "gap_db": self.gap_db,
            "std_ratio": self.std_ratio,
            "shares": self.shares,
        }
        return {name: each for name, each in named.items() if each is not None}

    def __str__(self) -> str:
        lines = [f"{name:>12}  {each}" for name, each in self.figures().items()]
        tests = [f"{name:>12}  p = {each.value:.3g}" for name, each in (("sbc", self.sbc), ("tarp", self.tarp))]
        return "\n".join([*lines, *tests])


def run(
    key: Array,
    simulate: Simulate,
    draw: Draw,
    *,
    replicates: int,
    draws: int = 99,
    chunk: int = 100,
    level: float = 0.9,
    exact: Callable[[Array], ExactMoments] | None = None,
    regions: Callable[[Array], Array] | None = None,
    log_density: Callable[[Array, Array], Array] | None = None,
) -> Calibration:
    """Measure whether `draw` draws from the posterior of what `simulate` draws.

    Args:
        key: a typed PRNG key; replicate r uses `fold_in(key, r)` alone.
        simulate: `key -> (x, y)`, one truth of any shape and its measurement.
        draw: `(key, y, n) -> [n, ...]`, draws of the posterior given one measurement; it is mapped by `jax.vmap`.
        replicates: R; see `replicates_for` and `replicates_to_see`.
        draws: S of each posterior; `S + 1` must be divided by 20.
        chunk: replicates that are computed at once.
        level: nominal coverage.
        exact: `y -> ` mean, std and shares of the exact posterior, of `regions`, as the `exact` of a world.
        regions: `[n, ...] -> [n, K]`, how far draws belong to regions whose shares `exact` knows.
        log_density: `(x [n, ...], y) -> [n]`, the logarithm of the posterior density up to a constant.

    Raises:
        ValueError: on draws whose ranks cannot be cut into 20 bins, or too few replicates for them.
    """
    if (draws + 1) % 20:
        raise ValueError(f"calibration.run: draws + 1 must be divided by 20, got {draws} draws; take 19, 39 or 99")
    if replicates < 100:
        raise ValueError(f"calibration.run needs at least 100 replicates, got {replicates}")
    if regions is not None and exact is None:
        raise ValueError("calibration.run: give the exact shares of the regions by exact=")

    def one(key: Array) -> _Replicate:
        own = [jax.random.fold_in(key, i) for i in range(7)]
        truth, y = simulate(own[0])
        reference, _ = simulate(own[1])  # another draw of the prior, which knows nothing of the truth
        x = draw(own[2], y, draws)
        flat, at, ref = x.reshape(draws, -1), truth.reshape(-1), reference.reshape(-1)
        # the same directions for all replicates
        lines = jax.random.normal(jax.random.fold_in(key_of_lines, 0), (flat.shape[1], DIRECTIONS), flat.dtype)
        lines = lines / jnp.linalg.norm(lines, axis=0)
        scales = jnp.linalg.norm(flat - ref, axis=1), jnp.linalg.norm(at - ref)
        none = jnp.zeros((1,), flat.dtype)  # not empty, which `map` cannot cut into chunks
        found = None if exact is None else exact(y)
        inside = none if regions is None else jnp.mean(regions(x), axis=0)
        if log_density is None:
            density = jnp.zeros((), jnp.int32)
        else:
            density = of_ranks.ranks(own[3], log_density(truth[None], y)[0], log_density(x, y))
        return _Replicate(
            of_ranks.ranks(own[4], at, flat), of_ranks.ranks(own[5], at @ lines, flat @ lines), density,
            of_ranks.ranks(own[6], scales[1], scales[0]), jnp.mean(errors.crps_each(at, flat)), at,
            jnp.mean(flat, axis=0), jnp.std(flat, axis=0, ddof=1), inside,
            *((none, none, none) if found is None else (found.mean.reshape(-1), found.std.reshape(-1), found.shares)),
        )  # fmt: skip

    key_of_lines = jax.random.fold_in(key, 2**32 - 1)

    @jax.jit
    def all_of(keys: Array) -> _Replicate:
        return jax.lax.map(one, keys, batch_size=min(chunk, replicates))

    got: PyTree = jax.tree.map(np.asarray, all_of(keys_lib.per_example(key, replicates)))
    return Calibration(
        ranks=got.ranks, draws=draws, level=level,
        coverage=of_ranks.coverage(got.ranks, draws, level=level),
        directions=of_ranks.coverage(got.directions, draws, level=level),
        hpd=None if log_density is None else of_ranks.hpd(got.density, draws, level=level),
        tarp=of_ranks.tarp(got.references, draws), sbc=of_ranks.sbc(got.ranks, draws), crps=mean_of(got.crps),
        gap_db=None if exact is None else errors.mean_gap(got.mean, got.exact_mean, got.exact_std**2),
        std_ratio=None if exact is None else _std_ratio(got.std / got.exact_std),
        shares=None if regions is None else _rms(got.shares - got.exact_shares),
    )  # fmt: skip


def _std_ratio(ratios: np.ndarray) -> Measured:
    each = np.median(ratios, axis=1)
    # a median of a normal law is sqrt(pi / 2) as uncertain as a mean
    return Measured(float(np.median(ratios)), float(1.2533 * each.std(ddof=1) / np.sqrt(len(each))))


def _rms(error: np.ndarray) -> Measured:
    square = mean_of((error.astype(np.float64) ** 2).mean(axis=1))
    value = float(np.sqrt(square.value))
    return Measured(value, square.stderr / (2.0 * value) if value > 0 else square.stderr)
