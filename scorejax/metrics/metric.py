"""What a measure of samples is to the evaluation: what it needs, what it finds, and how a person reads it.

A further metric is a class in a file of its own and a line in `catalog.METRICS`. The parameters of its constructor,
with their defaults, are its settings.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from scorejax.metrics.features import Examples, FeatureNetwork
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
        held_out: features of examples that the model was not trained on, for metrics that ask for them.
        examples: the examples themselves, for metrics that read these.
    """

    features: np.ndarray | None = None
    statistics: Statistics | None = None
    file: str | None = None
    about: dict[str, object] = field(default_factory=dict)
    held_out: np.ndarray | None = None
    examples: Examples | None = None

    def of_examples(self) -> np.ndarray:
        """Return the features.

        Raises:
            ValueError: there are none.
        """
        if self.features is None:
            raise ValueError("this metric needs the features of real examples; got none. Set needs_real to 'features'.")
        return self.features

    def of_held_out(self) -> np.ndarray:
        """Return the features of examples held out.

        Raises:
            ValueError: there are none.
        """
        if self.held_out is None:
            raise ValueError("this metric needs the features of examples held out; got none. Set needs_held_out.")
        return self.held_out

    def of_raw_examples(self) -> Examples:
        """Return the examples themselves.

        Raises:
            ValueError: there are none.
        """
        if self.examples is None:
            raise ValueError("this metric needs the real examples themselves; got none. Set reads to 'examples'.")
        return self.examples


class Metric(abc.ABC):
    """A measure of the features of samples.

    Attributes:
        needs_classes: whether the feature network must end in classes (`features.Classifier`).
        units: of its numbers, by their keys in `measure`.
        needs_real: `features` of the real examples; their `moments`, for which statistics from a file do; or `nothing`.
        needs_held_out: whether it asks for features of examples that the model was not trained on.
        reads: `features` of the samples, or the `examples` themselves, real ones and samples, in the user's units.
    """

    needs_classes: ClassVar[bool] = False
    units: ClassVar[Mapping[str, str]] = {}
    needs_real: ClassVar[Literal["features", "moments", "nothing"]] = "features"
    needs_held_out: ClassVar[bool] = False
    reads: ClassVar[Literal["features", "examples"]] = "features"

    @property
    def least(self) -> int:
        """The smallest number of samples, and of real examples, that it can be measured on."""
        return 2

    def check(self, shape: Sequence[int]) -> None:  # noqa: B027 - most metrics take any
        """Refuse examples of a shape that it is not for.

        Raises:
            ValueError: it says nothing of such examples.
        """

    @abc.abstractmethod
    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Return what a report holds of it, under keys of its own; `notes`, if any, is a list of sentences.

        Args:
            real: what `needs_real` asks for.
            samples: their features `[M, F]`, or themselves where it reads examples; they may lie on a disk.
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

    def draw(self, result: Result, folder: Path, name: str) -> None:  # noqa: B027 - most have none
        """Draw its picture, if it has one, into a file of the folder whose name ends in `name`.

        Args:
            result: what `measure` returned.
            folder: of the pictures of a run.
            name: end of the file's name, which says what samples were measured.
        """
