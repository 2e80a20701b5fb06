"""What a measure of samples is to the evaluation: what it needs, what it finds, and how a person reads it.

A further metric is a class in a file of its own and a line in `catalog.METRICS`. The parameters of its constructor,
with their defaults, are its settings.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from scorejax.metrics.features import FeatureNetwork
from scorejax.metrics.statistics import Statistics

Result = dict[str, Any]
"""Numbers of a report by their keys, as JSON can hold them."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What is known of the real examples that samples are held against.

    Attributes:
        features: theirs, `[N, F]`, which may lie on a disk; None where no metric asked for them.
        statistics: mean and covariance from a file; None: to be computed from the features.
        file: the file that the statistics come from.
        about: what else reports say of the examples.
    """

    features: np.ndarray | None = None
    statistics: Statistics | None = None
    file: str | None = None
    about: dict[str, object] = field(default_factory=dict)

    def of_examples(self) -> np.ndarray:
        """Return the features.

        Raises:
            ValueError: there are none.
        """
        if self.features is None:
            raise ValueError("this metric needs the features of real examples; got none. Set needs_real to 'features'.")
        return self.features


class Metric(abc.ABC):
    """A measure of the features of samples.

    Attributes:
        needs_classes: whether the feature network must end in classes (`features.Classifier`).
        units: of its numbers, by their keys in `measure`.
        needs_real: `features` of the real examples; their `moments`, for which statistics from a file do; or `nothing`.
    """

    needs_classes: ClassVar[bool] = False
    units: ClassVar[Mapping[str, str]] = {}
    needs_real: ClassVar[Literal["features", "moments", "nothing"]] = "features"

    @property
    def least(self) -> int:
        """The smallest number of samples, and of real examples, that it can be measured on."""
        return 2

    @abc.abstractmethod
    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Return what a report holds of it, under keys of its own; `notes`, if any, is a list of sentences.

        Args:
            real: what `needs_real` asks for.
            samples: their features `[M, F]`, which may lie on a disk.
            network: the network that the features come from.
            seed: of all that it draws at random.
        """

    @abc.abstractmethod
    def lines(self, result: Result) -> list[tuple[str, str]]:
        """Return labels and values for a person.

        Args:
            result: what `measure` returned, and under `features` the name of the network, on which it may depend what
                a number is called.
        """
