"""Count, mean and scatter of feature vectors, merged from parts: all that a Frechet distance knows of a set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

_BLOCK = 2000  # feature vectors in memory at a time


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and scatter of feature vectors seen so far.

    Attributes:
        count: number of vectors.
        mean: `[F]`.
        scatter: `[F, F]`, the sum of outer products of deviations from the mean.
        network: name of the feature network the vectors come from.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray
    network: str = ""

    @classmethod
    def of(cls, features: np.ndarray, network: str = "") -> Moments:
        """Return the moments of `features [N, F]`."""
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or not len(features):
            raise ValueError(f"features have shape {features.shape}; wanted a non-empty [N, F].")
        mean = features.mean(axis=0)
        centered = features - mean
        return cls(len(features), mean, centered.T @ centered, network)

    @classmethod
    def of_rows(cls, features: np.ndarray, network: str = "", rows: np.ndarray | None = None) -> Moments:
        """Return the moments of chosen rows of features that may lie on a disk, with a block in memory at a time."""
        rows = np.arange(len(features)) if rows is None else rows
        blocks = np.array_split(rows, -(-len(rows) // _BLOCK))
        return reduce(Moments.merge, (Moments.of(features[block], network) for block in blocks))

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets together, in any order and of any sizes (Chan, Golub and LeVeque 1983)."""
        if self.network != other.network:
            raise ValueError(f"features of {self.network!r} and of {other.network!r} cannot be merged.")
        count = self.count + other.count
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.count / count)
        between = np.outer(shift, shift) * (self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between, self.network)

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance `[F, F]`: `scatter / (count - 1)`, the convention of published FID numbers."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 vectors; got {self.count}.")
        return self.scatter / (self.count - 1)
