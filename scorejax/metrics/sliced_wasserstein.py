"""Sliced Wasserstein distance between two sets of features: nearness of all their projections on a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scorejax.metrics.features import FeatureNetwork, check_features
from scorejax.metrics.floor import floor, some
from scorejax.metrics.metric import Metric, Reference, Result
from scorejax.numerics.ranges import Count

DIRECTIONS = 256


@dataclass(frozen=True)
class SlicedWassersteinMetric(Metric):
    """Squared sliced Wasserstein distance to real examples, with its floor.

    Attributes:
        directions: lines that the sets are projected on.
    """

    directions: Count = DIRECTIONS
    units: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("sliced_wasserstein", "sliced_wasserstein_floor", "sliced_wasserstein_floor_deviation"),
        "squared units of the features",
    )

    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Measure the distance, and that of real examples from other real ones."""

        def measured(x: np.ndarray, y: np.ndarray) -> float:
            return sliced_wasserstein(x, y, directions=self.directions, seed=seed)

        features = real.of_examples()
        lowest = floor(measured, features, len(samples), seed)
        return {
            "sliced_wasserstein": measured(some(features, seed), some(samples, seed)),
            "sliced_wasserstein_floor": lowest.value,
            "sliced_wasserstein_floor_deviation": lowest.deviation,
        }

    def lines(self, result: Result) -> list[tuple[str, str]]:
        """Return the distance and its floor."""
        below = f"floor {result['sliced_wasserstein_floor']:.4g} +- {result['sliced_wasserstein_floor_deviation']:.2g}"
        return [("sliced Wasserstein", f"{result['sliced_wasserstein']:.4g}, {below} squared units")]


def sliced_wasserstein(x: np.ndarray, y: np.ndarray, *, directions: int = DIRECTIONS, seed: int = 0) -> float:
    """Return the mean over random directions of the squared 2-Wasserstein distance between projections.

    `E_v int_0^1 (Q_x.v(u) - Q_y.v(u))^2 du` with the quantile functions of the projections on unit vectors `v` (Bonneel
    et al. 2015). Of finite sets it is biased upwards, like a Frechet distance: hold it against its floor.

    Args:
        x: features `[N, F]`.
        y: features `[M, F]`.
        directions: random directions, a hundred or more.
        seed: of the directions.

    Returns:
        the distance, in squared units of the features.
    """
    check_features(x, y)
    lines = np.random.default_rng(seed).standard_normal((x.shape[1], directions))
    lines /= np.linalg.norm(lines, axis=0)
    a, b = (np.sort(np.asarray(each, np.float64) @ lines, axis=0) for each in (x, y))
    if len(a) == len(b):
        return float(np.mean((a - b) ** 2))
    # both quantile functions are steps: between all the places where one of them steps, each is one number
    steps = np.unique(np.concatenate([np.arange(1, len(each)) / len(each) for each in (a, b)]))
    edges = np.concatenate([[0.0], steps, [1.0]])
    middles = 0.5 * (edges[1:] + edges[:-1])
    gap = a[(middles * len(a)).astype(int)] - b[(middles * len(b)).astype(int)]
    return float(np.mean(np.diff(edges) @ gap**2))
