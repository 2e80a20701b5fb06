"""Energy distance between two sets of features: zero for equal laws alone, in any dimension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scorejax.metrics.features import FeatureNetwork, check_features
from scorejax.metrics.floor import floor, some
from scorejax.metrics.metric import Metric, Reference, Result


@dataclass(frozen=True)
class EnergyDistanceMetric(Metric):
    """Energy distance to real examples, unbiased at every sample size, and what it is between real ones."""

    units: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("energy_distance", "energy_distance_floor", "energy_distance_floor_deviation"), "units of the features"
    )

    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Measure the distance, and that of real examples from other real ones."""
        features = real.of_examples()
        lowest = floor(energy_distance, features, len(samples), seed, most=_MOST)
        near = energy_distance(some(features, seed, most=_MOST), some(samples, seed, most=_MOST))
        return {
            "energy_distance": near,
            "energy_distance_floor": lowest.value,
            "energy_distance_floor_deviation": lowest.deviation,
        }

    def lines(self, result: Result) -> list[tuple[str, str]]:
        """Return the distance, and its spread between real examples."""
        below = f"floor {result['energy_distance_floor']:.2g} +- {result['energy_distance_floor_deviation']:.2g}"
        return [("energy distance", f"{result['energy_distance']:.4g}, {below} units")]


_MOST = 2000  # of each set: time grows with the square


def energy_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return `2 E|X - Y| - E|X - X'| - E|Y - Y'|`, unbiased (Szekely and Rizzo 2013).

    Of two sets of one law it is as often below zero as above it.

    Args:
        x: features `[N, F]`.
        y: features `[M, F]`.

    Returns:
        the distance, in the units of the features.

    Raises:
        ValueError: shapes that do not match, or fewer than 2 of one.
    """
    from scipy.spatial.distance import cdist, pdist  # slow to import, needed here alone

    check_features(x, y, 2)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return float(2.0 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean())
