"""Steering toward a class: not at all, by the network's own conditions, or by a classifier of noisy data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MinLen

from scorejax.experiment.steering import classifiers
from scorejax.experiment.steering.classes import Classes
from scorejax.experiment.steering.guidance import (
    About,
    ByLabels,
    Guidance,
    checked_interval,
    conditions,
    known_labels,
)
from scorejax.numerics.ranges import Finite, Limitless, Natural
from scorejax.runtime.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Unguided(Guidance):
    """The model as it is: samples of each class in turn, if it knows classes."""

    def classes(self, about: About) -> Classes:
        return Classes(conditions(about))


@dataclass(frozen=True, kw_only=True)
class ClassifierFree(ByLabels):
    """By the difference that a label makes to the score of a conditional network (Ho & Salimans)."""


@dataclass(frozen=True, kw_only=True)
class ByClassifier(Guidance):
    """By the gradient of a classifier of noisy data.

    Attributes:
        classifier: workdir of the classifier's run.
        labels: classes wanted, in turn; None: all.
        scale: how strongly toward the class.
        interval: (low, high) of the log SNR between which that acts; None: everywhere.
    """

    classifier: str | None = None
    labels: Annotated[tuple[Natural, ...], MinLen(1)] | None = None
    scale: Finite = 1.0
    interval: tuple[Limitless, Limitless] | None = None

    def classes(self, about: About) -> Classes:
        found = trained_classifier(about, self.classifier)
        labels = known_labels(self.labels, found.num_classes)
        return Classes(labels, None, found.logits, self.scale, checked_interval(self.interval))


def trained_classifier(about: About, folder: str | None) -> classifiers.Classifier:
    """The classifier of a run.

    Raises:
        ConfigError: the run is not named, or does not fit the model.
    """
    if folder is None:
        raise ConfigError(
            f"guidance = {about.config.guidance.name!r} needs guidance.classifier, the workdir of a classifier that "
            "was trained on noisy data"
        )
    return classifiers.restore(folder, about)
