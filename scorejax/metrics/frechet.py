"""Frechet distance: the squared 2-Wasserstein distance between Gaussians with the moments of two sets, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scorejax.metrics.features import FeatureNetwork, moments
from scorejax.metrics.metric import Metric, Reference, Result
from scorejax.metrics.moments import Moments
from scorejax.metrics.naming import is_inception
from scorejax.metrics.statistics import Statistics

SQUARES = "squared units of the features"
ENOUGH = 10_000  # samples of a Frechet distance that may be held against published ones


@dataclass(frozen=True)
class FrechetMetric(Metric):
    """Frechet distance to real examples, with its floor; over Inception features it is called FID."""

    needs_real = "moments"
    units: ClassVar[Mapping[str, str]] = dict.fromkeys(("frechet_distance", "frechet_floor"), SQUARES)

    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Measure the distance to the given statistics, or to all real examples and with its floor."""
        name, floor, notes = network.name, {}, []
        called = "FID" if is_inception(name) else "Frechet distance"
        if len(samples) < ENOUGH:
            notes.append(f"{called} of n < {ENOUGH:,}: biased upwards; compare only at the same n")
        if is_inception(name) and not is_inception(name, published=True):
            notes.append("the Inception weights are not the published ones: not to be held against published FIDs")
        if real.statistics is not None:
            statistics = real.statistics
            if statistics.network is None:
                notes.append(
                    f"{real.file} does not say which network and how many examples it is of: taken for Inception"
                )
        else:
            everything, floor = moments_and_floor(real.of_examples(), name, len(samples), seed)
            statistics = Statistics.of(everything, **real.about)
        sampled = Moments.of_rows(samples, name)
        return {
            "frechet_distance": frechet_distance(
                statistics.mean, statistics.covariance, sampled.mean, sampled.covariance
            ),
            "frechet_called": called,
            **floor,
            "statistics": {
                "from": real.file or "computed",
                "n": statistics.count,
                "features": statistics.network,
                "sha256": statistics.sha256,
                **statistics.about,
            },
            "notes": notes,
        }

    def lines(self, result: Result) -> list[tuple[str, str]]:
        """Return the distance, and its floor where it was computed."""
        floor = f", floor {result['frechet_floor']:.4g}" if "frechet_floor" in result else ""
        return [(result["frechet_called"], f"{result['frechet_distance']:.4g}{floor} squared units")]


def _factor(covariance: np.ndarray) -> np.ndarray:
    """`A [F, rank]` with `A A' = covariance`; eigenvalues that are zero up to rounding are left out."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    return vectors[:, kept] * np.sqrt(values[kept])


def frechet_distance(mu1: np.ndarray, cov1: np.ndarray, mu2: np.ndarray, cov2: np.ndarray) -> float:
    """Return the squared 2-Wasserstein distance between two Gaussians (Dowson and Landau 1982).

    `|mu1 - mu2|^2 + tr C1 + tr C2 - 2 tr (C1^(1/2) C2 C1^(1/2))^(1/2)`. The last trace is the sum of singular values
    of `A' B` for any factors `C1 = A A'`, `C2 = B B'`: nothing small is squared, so the singular covariances of fewer
    samples than features lose no digits.

    Args:
        mu1: mean `[F]`.
        cov1: covariance `[F, F]`.
        mu2: mean `[F]`.
        cov2: covariance `[F, F]`.

    Returns:
        the distance, in squared units of the features; rounding can leave it at `-1e-12` of the traces.

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
    """Return the Frechet distance between two sets of features of one network.

    Raises:
        ValueError: the features come from different networks.
    """
    if real.network != samples.network:
        raise ValueError(
            f"features of {real.network!r} and of {samples.network!r} cannot be compared; use one feature network."
        )
    return frechet_distance(real.mean, real.covariance, samples.mean, samples.covariance)


def moments_and_floor(
    features: np.ndarray, network: str, count: int, seed: int
) -> tuple[Moments, dict[str, float | int]]:
    """Return moments of all real features, and what a perfect sampler of `count` samples would get: the floor.

    That is the distance of `count` real examples from all the others, or of half from half if there are not enough.
    Distances of finite sets from one law are positive, about in proportion to `1 / n + 1 / others`.

    Args:
        features: of the real examples, `[N, F]`; they may lie on a disk.
        network: name of the feature network.
        count: number of samples.
        seed: of the choice of real examples.
    """
    order = np.random.default_rng(seed).permutation(len(features))
    count = min(count, len(features) // 2)
    # rows in their order on the disk: sums do not depend on it, and reading is faster
    few, others = (Moments.of_rows(features, network, np.sort(rows)) for rows in (order[:count], order[count:]))
    return few.merge(others), {"frechet_floor": distance(others, few), "frechet_floor_n": count}


def frechet_floor(network: FeatureNetwork, images: np.ndarray, *, seed: int = 0, batch_size: int = 500) -> float:
    """Return the distance between two random halves of real `images`: what a perfect sampler of as many would get.

    The distance of finite sets from one distribution is positive, about proportionally to one over their number, so the
    floor of `2 n` images is the one to hold against a distance between sets of `n`.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    half = len(images) // 2
    halves = [np.sort(order[:half]), np.sort(order[half : 2 * half])]
    return distance(*(moments(network, images[half], batch_size) for half in halves))
