"""How sharp and how varied the classes of samples are: the Inception Score, if the classes are Inception's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from scorejax.metrics.features import Classifier, FeatureNetwork
from scorejax.metrics.metric import Metric, Reference, Result
from scorejax.metrics.naming import is_inception

SPLITS = 10


class ClassScore(NamedTuple):
    """A class score: mean and standard deviation over splits of the samples.

    Attributes:
        mean: of the splits' scores; between 1 and the number of classes.
        std: their standard deviation.
        splits: their number.
    """

    mean: float
    std: float
    splits: int


@dataclass(frozen=True)
class ClassScoreMetric(Metric):
    """How sharp and how varied the classes of samples are; over Inception features it is called Inception Score.

    Attributes:
        splits: into which the samples are cut; there are never more than samples.
    """

    splits: int = SPLITS
    needs_classes = True
    needs_real = "nothing"
    units: ClassVar[Mapping[str, str]] = dict.fromkeys(("class_score", "class_score_std"), "classes")

    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Measure the score, and its standard deviation over the splits."""
        if not isinstance(network, Classifier):
            raise ValueError(f"a class score needs a feature network that ends in classes; {network.name!r} has none.")
        splits = np.array_split(np.arange(len(samples)), min(self.splits, len(samples)))
        score = class_score(network.log_probabilities(samples[rows]) for rows in splits)
        return {"class_score": score.mean, "class_score_std": score.std, "class_score_splits": score.splits}

    def lines(self, result: Result) -> list[tuple[str, str]]:
        """Return the score and its standard deviation."""
        value = f"{result['class_score']:.4g} +- {result['class_score_std']:.2g}"
        return [("Inception Score" if is_inception(result["features"]) else "class score", value)]


def class_score(splits: Iterable[np.ndarray]) -> ClassScore:
    """Return mean and standard deviation over splits of `exp E_x KL(p(y | x) || p(y))` (Salimans et al. 2016).

    `p(y)` is the mean over the split, so the score depends on the splits' size: published ones are of 10 splits of
    5,000.

    Args:
        splits: log-probabilities `[n, K]` of the classes of each split's samples; one split is in memory at a time.

    Raises:
        ValueError: no split, or an empty one.
    """
    scores = [_score(np.asarray(split, np.float64)) for split in splits]
    if not scores:
        raise ValueError("a class score needs at least 1 split; got none.")
    return ClassScore(float(np.mean(scores)), float(np.std(scores)), len(scores))


def _score(log_p: np.ndarray) -> float:
    if log_p.ndim != 2 or not len(log_p):
        raise ValueError(f"log-probabilities have shape {log_p.shape}; wanted a non-empty [n, K].")
    # a class of probability 0 adds 0, also where its logarithm is minus infinity
    p = np.exp(log_p)
    marginal = p.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (log_p - np.log(marginal)), 0.0)
    return float(np.exp(terms.sum(axis=1).mean()))
