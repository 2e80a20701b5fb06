"""Precision (are samples realistic?) and recall (is every real example covered?)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from scorejax.metrics.features import FeatureNetwork, check_features
from scorejax.metrics.metric import Metric, Reference, Result
from scorejax.numerics.ranges import Count

NEIGHBORS = 3
_BLOCK = 1000


class PrecisionRecall(NamedTuple):
    """Improved precision and recall, shares between 0 and 1.

    Attributes:
        precision: of the samples that lie in the manifold of the real examples.
        recall: of the real examples that lie in the manifold of the samples.
    """

    precision: float
    recall: float


@dataclass(frozen=True)
class PrecisionRecallMetric(Metric):
    """Precision (are samples realistic?) and recall (is every real example covered?), over equally many of both.

    Attributes:
        neighbors: the manifold around an example reaches to its neighbor of this number.
    """

    neighbors: Count = NEIGHBORS
    units: ClassVar[Mapping[str, str]] = {"precision": "share of the samples", "recall": "share of the real examples"}

    @property
    def least(self) -> int:
        """One more than the neighbors that every example needs."""
        return self.neighbors + 1

    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Measure both on as many real examples as samples, since both numbers depend on how many there are."""
        features = real.of_examples()
        size = min(len(features), len(samples))
        chosen = np.sort(np.random.default_rng(seed).permutation(len(features))[:size])
        found = precision_recall(features[chosen], samples[:size], k=self.neighbors)
        return {"precision": found.precision, "recall": found.recall, "precision_recall_n": size}

    def lines(self, result: Result) -> list[tuple[str, str]]:
        """Return both shares on one line."""
        return [("precision, recall", f"{result['precision']:.3f}, {result['recall']:.3f}")]


def precision_recall(real: np.ndarray, samples: np.ndarray, *, k: int = NEIGHBORS) -> PrecisionRecall:
    """Return improved precision and recall (Kynkaanniemi et al. 2019, eqs. 1 and 2).

    The manifold of a set is the union of balls around its members, each reaching to the member's k-th nearest
    neighbor in the set. Both numbers depend on the sizes of the sets: compare only at equal sizes.

    Args:
        real: features `[N, F]`.
        samples: features `[M, F]`; either set may lie on a disk.
        k: the neighbor that a ball reaches to.

    Raises:
        ValueError: a set with no k-th neighbor.
    """
    check_features(real, samples, 0)
    if min(len(real), len(samples)) <= k:
        raise ValueError(f"{len(real)} and {len(samples)} features; {k} neighbors need at least {k + 1} of each.")
    return PrecisionRecall(_covered(samples, real, k), _covered(real, samples, k))


def _covered(points: np.ndarray, centers: np.ndarray, k: int) -> float:
    """Share of `points` that lie in the manifold of `centers`."""
    radii = _radii(centers, k)
    inside = np.zeros(len(points), bool)
    for i in range(0, len(centers), _BLOCK):
        block = centers[i : i + _BLOCK]
        for j in range(0, len(points), _BLOCK):
            squared = _squared_distances(points[j : j + _BLOCK], block)
            inside[j : j + _BLOCK] |= (squared <= radii[i : i + _BLOCK]).any(axis=1)
    return float(inside.mean())


def _radii(centers: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of every center to its k-th nearest other one."""
    radii = []
    for i in range(0, len(centers), _BLOCK):
        block = centers[i : i + _BLOCK]
        nearest = np.full((len(block), k), np.inf)
        for j in range(0, len(centers), _BLOCK):
            squared = _squared_distances(block, centers[j : j + _BLOCK])
            if i == j:  # no example is its own neighbor
                np.fill_diagonal(squared, np.inf)
            nearest = np.partition(np.concatenate([nearest, squared], axis=1), k - 1, axis=1)[:, :k]
        radii.append(nearest[:, k - 1])
    return np.concatenate(radii)


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`|x - y|^2 [n, m]`, in float64: the difference of large squares would leave float32 nothing of small ones."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T, 0.0)
