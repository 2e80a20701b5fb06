"""Frechet distance between two Gaussians, and the streaming moments it is computed from, all in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
        """Moments of `features [N, F]`."""
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or not len(features):
            raise ValueError(f"features have shape {features.shape}; wanted a non-empty [N, F].")
        mean = features.mean(axis=0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred, network)

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets together (Chan, Golub and LeVeque 1983): order and batch sizes do not matter."""
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


def _factor(covariance: np.ndarray) -> np.ndarray:
    """`A [F, rank]` with `A A' = covariance`; eigenvalues that are zero up to rounding are left out."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    return vectors[:, kept] * np.sqrt(values[kept])


def frechet_distance(mu1: np.ndarray, cov1: np.ndarray, mu2: np.ndarray, cov2: np.ndarray) -> float:
    """Squared 2-Wasserstein distance between two Gaussians (Dowson and Landau 1982).

    `|mu1 - mu2|^2 + tr C1 + tr C2 - 2 tr (C1^(1/2) C2 C1^(1/2))^(1/2)`. The last trace is the sum of singular values
    of `A' B` for any factors `C1 = A A'`, `C2 = B B'`: nothing small is squared, so the singular covariances of fewer
    samples than features lose no digits.

    Args:
      mu1: mean `[F]`.
      cov1: covariance `[F, F]`.
      mu2: mean `[F]`.
      cov2: covariance `[F, F]`.

    Returns:
      The distance, in squared units of the features; rounding can leave it at `-1e-12` of the traces.

    Raises:
      ValueError: shapes that do not match, or values that are not finite.
    """
    mu1, cov1, mu2, cov2 = (np.asarray(a, np.float64) for a in (mu1, cov1, mu2, cov2))
    if not mu1.shape == mu2.shape == cov1.shape[:1] == cov2.shape[:1] or cov1.shape != cov2.shape:
        raise ValueError(
            f"shapes do not match: means {mu1.shape} and {mu2.shape}, covariances {cov1.shape} and {cov2.shape}; "
            "wanted [F], [F], [F, F], [F, F]."
        )
    if not all(np.isfinite(a).all() for a in (mu1, cov1, mu2, cov2)):
        raise ValueError("a mean or covariance is not finite: look for NaN or infinite samples.")
    overlap = np.linalg.svd(_factor(cov1).T @ _factor(cov2), compute_uv=False).sum()
    return float(np.sum((mu1 - mu2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2 * overlap)
