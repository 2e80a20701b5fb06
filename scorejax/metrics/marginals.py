"""Marginals: every feature alone, by the largest gap of distribution functions and the area between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from scorejax.metrics.features import FeatureNetwork, check_features
from scorejax.metrics.floor import floor, some
from scorejax.metrics.metric import Metric, Reference, Result

_AT_1_PERCENT = 1.63  # sqrt(-log(.005) / 2), of the law of Kolmogorov and Smirnov


class Marginals(NamedTuple):
    """Nearness of two sets, feature by feature.

    Attributes:
        gap: largest difference of the two distribution functions (Kolmogorov-Smirnov statistic), `[F]`.
        area: between them, which is the 1-Wasserstein distance in the units of the feature, `[F]`.
        critical: a gap that one of a hundred features exceeds where both sets are of one law.
    """

    gap: np.ndarray
    area: np.ndarray
    critical: float


@dataclass(frozen=True)
class MarginalsMetric(Metric):
    """Kolmogorov-Smirnov statistics and 1-Wasserstein distances of every feature, with their floor."""

    units: ClassVar[Mapping[str, str]] = {
        "marginal_gap": "largest difference of distribution functions",
        "marginal_rejected": "share of the features",
        "marginal_wasserstein": "units of the features",
        "marginal_wasserstein_floor": "units of the features",
        "marginal_wasserstein_floor_deviation": "units of the features",
    }

    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Measure every feature; the report holds the worst one and means."""
        features = real.of_examples()
        found = marginals(some(features, seed), some(samples, seed))
        lowest = floor(lambda x, y: float(marginals(x, y).area.mean()), features, len(samples), seed)
        return {
            "marginal_gap": float(found.gap.max()),
            "marginal_gap_of": int(found.gap.argmax()),
            "marginal_gap_critical": found.critical,
            "marginal_rejected": float(np.mean(found.gap > found.critical)),
            "marginal_wasserstein": float(found.area.mean()),
            "marginal_wasserstein_floor": lowest.value,
            "marginal_wasserstein_floor_deviation": lowest.deviation,
        }

    def lines(self, result: Result) -> list[tuple[str, str]]:
        """Return the worst feature, how many stand out, and the mean distance."""
        gap, where = result["marginal_gap"], result["marginal_gap_of"]
        area, below = result["marginal_wasserstein"], result["marginal_wasserstein_floor"]
        spread = result["marginal_wasserstein_floor_deviation"]
        return [
            ("marginals", f"mean 1-Wasserstein {area:.4g}, floor {below:.4g} +- {spread:.2g} units"),
            (
                "marginal gaps",
                f"{result['marginal_rejected']:.1%} of the features beyond the 1 % gap "
                f"{result['marginal_gap_critical']:.3f} of one law; the largest is {gap:.3f}, of feature {where}",
            ),
        ]


def marginals(x: np.ndarray, y: np.ndarray) -> Marginals:
    """Return both distances of every feature.

    With the distribution functions `F` and `G` of a feature in the sets, `sup |F - G|` and `int |F - G|`. Where the
    sets are of one law the first exceeds `1.63 sqrt(1 / N + 1 / M)` in one of a hundred cases.

    Args:
        x: features `[N, F]`.
        y: features `[M, F]`.
    """
    check_features(x, y)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    both = np.concatenate([x, y])
    order = np.argsort(both, axis=0, kind="stable")
    values = np.take_along_axis(both, order, axis=0)
    steps = np.where(order < len(x), 1.0 / len(x), -1.0 / len(y))
    gap, widths = np.abs(np.cumsum(steps, axis=0))[:-1], np.diff(values, axis=0)
    # between equal values the functions have not stepped yet
    largest = np.max(np.where(widths > 0.0, gap, 0.0), axis=0, initial=0.0)
    critical = _AT_1_PERCENT * (1.0 / len(x) + 1.0 / len(y)) ** 0.5
    return Marginals(largest, np.sum(gap * widths, axis=0), critical)
