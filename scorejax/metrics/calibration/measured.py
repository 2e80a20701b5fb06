"""A measured number with its standard error."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Measured(NamedTuple):
    """A number and its standard error.

    Attributes:
        value: the number.
        stderr: one standard deviation of it over repetitions of the measurement.
    """

    value: float
    stderr: float

    def __str__(self) -> str:
        return f"{self.value:.4g} +- {self.stderr:.2g}"


def mean_of(each: np.ndarray) -> Measured:
    """Return the mean of one number per replicate, `[R]`, with its standard error."""
    each = np.asarray(each, np.float64)
    return Measured(float(each.mean()), float(each.std(ddof=1) / math.sqrt(len(each))) if len(each) > 1 else math.inf)
