"""Memorization: whether samples are copies of training examples, or lean on them more than on examples held out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from annotated_types import Gt

from scorejax.metrics.features import FeatureNetwork, check_features
from scorejax.metrics.metric import Metric, Reference, Result

COPY = 1 / 3  # ratio of the distances to the nearest and to the second nearest training example
_MOST_EXTRA = 0.01  # copies beyond those of examples held out, as a share, from which on a report warns
_MOST_Z = 6.0
_ENOUGH = 300  # samples
_BLOCK = 500


class Memorization(NamedTuple):
    """What samples owe to single training examples.

    Attributes:
        copies: share of the samples that are nearer to one training example than a third of the way to the next.
        held_out_copies: the same of examples held out.
        near: samples whose nearest example is one of the training set.
        expected: their number if the samples do not depend on which examples were trained on.
        z: `(near - expected)` in its standard deviations.
        authentic: share of the samples that are further from their nearest training example than that is from its own.
        distance: mean distance of samples to the training set over that of examples held out.
    """

    copies: float
    held_out_copies: float
    near: int
    expected: float
    z: float
    authentic: float
    distance: float


@dataclass(frozen=True)
class MemorizationMetric(Metric):
    """Copies of training examples among the samples, held against examples that were not trained on.

    Attributes:
        copy: a sample is a copy if its distance to the nearest training example is below this part of that to the
            second nearest.
    """

    copy: Annotated[float, Gt(0)] = COPY
    needs_held_out = True
    units: ClassVar[Mapping[str, str]] = {
        "memorization_copies": "share of the samples",
        "memorization_held_out_copies": "share of the examples held out",
        "memorization_z": "standard deviations",
        "memorization_authentic": "share of the samples",
        "memorization_distance": "distance to the training set over that of examples held out",
    }

    @property
    def least(self) -> int:
        """Two, and as many neighbors."""
        return 3

    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Measure it, and warn where samples are copies."""
        found = memorization(real.of_examples(), real.of_held_out(), samples, copy=self.copy)
        notes = []
        if len(samples) >= _ENOUGH and found.copies > found.held_out_copies + _MOST_EXTRA:
            notes.append(f"copies: {found.copies:.1%} of the samples are copies of training examples")
        if found.z > _MOST_Z:
            notes.append(
                f"leans on training data: samples lie nearer to training examples than to others, by {found.z:.1f} "
                "standard deviations"
            )
        return {**{f"memorization_{key}": value for key, value in found._asdict().items()}, "notes": notes}

    def lines(self, result: Result) -> list[tuple[str, str]]:
        """Return the share of copies, and the pull of the training examples."""
        r = {key: result[f"memorization_{key}"] for key in Memorization._fields}
        return [
            (
                "memorization",
                f"{r['copies']:.1%} copies (held-out examples {r['held_out_copies']:.1%}), {r['z']:+.1f} deviations "
                f"nearer to training examples, {r['authentic']:.0%} authentic",
            )
        ]


def memorization(
    training: np.ndarray, held_out: np.ndarray, samples: np.ndarray, *, copy: float = COPY
) -> Memorization:
    """Return what samples owe to single training examples.

    Let `U` be all `M` examples, training set `T` and held-out set `H`, and `c_j` the number of samples whose nearest
    example is `j`. If samples do not depend on which examples were trained on, `S = sum_T c_j` has, over the choices of
    `T`, the mean `n |T| / M` and the variance `|T| |H| / (M (M - 1)) (sum_j c_j^2 - n^2 / M)`, however bad they are.

    Args:
        training: features `[N, F]` of the examples that were trained on.
        held_out: features `[H, F]` of examples that were not.
        samples: features `[M, F]`.
        copy: see `MemorizationMetric`.

    Raises:
        ValueError: shapes that do not match, or fewer than 3 of a set.
    """
    check_features(training, held_out, 3)
    check_features(training, samples, 3)
    training = np.unique(np.asarray(training, np.float64), axis=0)  # of two equal examples no sample is a copy
    if len(training) < 3:
        raise ValueError(f"{len(training)} different training examples; wanted at least 3.")
    of_samples, of_held_out = nearest(samples, training, 2), nearest(held_out, training, 2)
    to_held_out = nearest(samples, held_out, 1)
    within = nearest(training, training, 2)  # the first neighbor of each is itself
    n, size, other = len(samples), len(training), len(held_out)
    from_training = of_samples.distance[:, 0] <= to_held_out.distance[:, 0]
    counts = np.concatenate(
        [
            np.bincount(of_samples.index[from_training, 0], minlength=size),
            np.bincount(to_held_out.index[~from_training, 0], minlength=other),
        ]
    ).astype(float)
    total = size + other
    expected = n * size / total
    variance = size * other / (total * (total - 1.0)) * (np.sum(counts**2) - n**2 / total)
    near = int(from_training.sum())
    z = (near - expected) / math.sqrt(variance) if variance > 0.0 else 0.0
    mean_held_out = float(of_held_out.distance[:, 0].mean())
    return Memorization(
        copies=float(np.mean(of_samples.distance[:, 0] < copy * of_samples.distance[:, 1])),
        held_out_copies=float(np.mean(of_held_out.distance[:, 0] < copy * of_held_out.distance[:, 1])),
        near=near,
        expected=expected,
        z=z,
        authentic=float(np.mean(of_samples.distance[:, 0] > within.distance[of_samples.index[:, 0], 1])),
        distance=float(of_samples.distance[:, 0].mean()) / mean_held_out if mean_held_out > 0.0 else math.inf,
    )


class Nearest(NamedTuple):
    """Nearest neighbors of each point, the nearest one first.

    Attributes:
        distance: `[N, K]`.
        index: rows of the neighbors, `[N, K]`.
    """

    distance: np.ndarray
    index: np.ndarray


def nearest(points: np.ndarray, others: np.ndarray, k: int) -> Nearest:
    """Return the `k` nearest `others [M, F]` of each of the points `[N, F]`, which may lie on a disk."""
    from scipy.spatial.distance import cdist  # slow to import, needed here alone

    others = np.asarray(others, np.float64)
    distances, indices = [], []
    for start in range(0, len(points), _BLOCK):
        between = cdist(np.asarray(points[start : start + _BLOCK], np.float64), others)
        chosen = np.argpartition(between, k - 1, axis=1)[:, :k]
        own = np.take_along_axis(between, chosen, axis=1)
        order = np.argsort(own, axis=1)
        distances.append(np.take_along_axis(own, order, axis=1))
        indices.append(np.take_along_axis(chosen, order, axis=1))
    return Nearest(np.concatenate(distances), np.concatenate(indices))
