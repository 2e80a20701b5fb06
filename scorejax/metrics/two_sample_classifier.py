"""Classifier two-sample test: how often a classifier can say which of two sets an example comes from."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from annotated_types import Ge

from scorejax.metrics.features import FeatureNetwork, check_features
from scorejax.metrics.floor import some
from scorejax.metrics.metric import Metric, Reference, Result
from scorejax.numerics.ranges import Count

_LEAST = 10
_WIDEST = 128


class TwoSample(NamedTuple):
    """How well a classifier separates two sets.

    Attributes:
        accuracy: share of held-out examples that are assigned to their set; 1/2 for sets of one law.
        standard_error: of the accuracy.
        z: `(accuracy - 1/2) 2 sqrt(n)`, about N(0, 1) for sets of one law.
    """

    accuracy: float
    standard_error: float
    z: float


@dataclass(frozen=True)
class TwoSampleClassifierMetric(Metric):
    """Accuracy of a small network that learns to tell samples from real examples: 1/2 is perfect.

    Attributes:
        most: examples of each set, at most.
        epochs: passes over them, at most.
    """

    most: Annotated[int, Ge(10)] = 2000
    epochs: Count = 100
    units: ClassVar[Mapping[str, str]] = {"two_sample_accuracy": "share of held-out examples"}

    @property
    def least(self) -> int:
        """Five to learn and five to test."""
        return _LEAST

    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Measure the accuracy on as many real examples as samples."""
        features = real.of_examples()
        most = min(self.most, len(features), len(samples))
        found = two_sample(
            some(features, seed, most=most), some(samples, seed, most=most), epochs=self.epochs, seed=seed
        )
        return {
            "two_sample_accuracy": found.accuracy,
            "two_sample_error": found.standard_error,
            "two_sample_z": found.z,
        }

    def lines(self, result: Result) -> list[tuple[str, str]]:
        """Return the accuracy, and how far it is from chance."""
        accuracy, error, z = (result[f"two_sample_{key}"] for key in ("accuracy", "error", "z"))
        return [("two-sample accuracy", f"{accuracy:.3f} +- {error:.2g} (1/2 is perfect; {z:+.1f} deviations)")]


def two_sample(x: np.ndarray, y: np.ndarray, *, epochs: int = 100, seed: int = 0) -> TwoSample:
    """Return the accuracy of a classifier between two sets on examples held out (Lopez-Paz and Oquab 2017).

    A network with two hidden layers learns one half of both and is tested on the other; the larger set is cut to the
    size of the smaller. It bounds the accuracy of the best classifier, `1/2 + TV / 2`, from below. One split, and not
    several in turns, whose errors depend on each other and make small sets of one law look less alike than chance.

    Args:
        x: features `[N, F]`.
        y: features `[M, F]`.
        epochs: passes over the examples, at most; training ends where its loss no longer falls.
        seed: of the halves and of initial weights.

    Raises:
        ValueError: shapes that do not match, or fewer than 10 of one.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    check_features(x, y, _LEAST)
    size = min(len(x), len(y))
    both = np.concatenate([x[:size], y[:size]]).astype(np.float64)
    of = np.repeat([0, 1], size)
    width = min(10 * both.shape[1], _WIDEST)
    learner = MLPClassifier((width, width), max_iter=epochs, random_state=seed)
    learned, tested, of_learned, of_tested = train_test_split(both, of, test_size=0.5, stratify=of, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `epochs` may end it
        accuracy = float(make_pipeline(StandardScaler(), learner).fit(learned, of_learned).score(tested, of_tested))
    n = len(tested)
    error = math.sqrt(max(accuracy * (1.0 - accuracy), 1e-12) / n)
    return TwoSample(accuracy, error, (accuracy - 0.5) * 2.0 * math.sqrt(n))
