"""Frechet distance: the squared 2-Wasserstein distance between Gaussians with the moments of two sets, in float64."""

from __future__ import annotations

import numpy as np

from scorejax.metrics.moments import Moments


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


def distance(real: Moments, samples: Moments) -> float:
    """Frechet distance between two sets of features of one network.

    Raises:
      ValueError: the features come from different networks.
    """
    if real.network != samples.network:
        raise ValueError(
            f"features of {real.network!r} and of {samples.network!r} cannot be compared; use one feature network."
        )
    return frechet_distance(real.mean, real.covariance, samples.mean, samples.covariance)
