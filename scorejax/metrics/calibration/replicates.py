"""How many replicates a coverage needs, by the normal limit of the binomial law."""

from __future__ import annotations

import math

from scipy.stats import norm


def replicates_for(half_width: float, *, level: float = 0.9, confidence: float = 0.95) -> int:
    """Return how many independent replicates give a coverage near `level` an interval of this half-width.

        R = z^2 level (1 - level) / half_width^2

    Coordinates that are independent of each other count like replicates.

    Args:
        half_width: of the interval of the coverage, such as 0.02.
        level: the coverage.
        confidence: of the interval.

    Raises:
        ValueError: unless all lie between 0 and 1.
    """
    _inside("replicates_for", half_width, level, confidence)
    z = float(norm.ppf(0.5 + 0.5 * confidence))
    return math.ceil(z**2 * level * (1.0 - level) / half_width**2)


def replicates_to_see(coverage: float, *, level: float = 0.9, power: float = 0.8, confidence: float = 0.95) -> int:
    """Return how many independent replicates tell a coverage from the nominal one with this probability.

        R = ((z_confidence sqrt(p (1 - p)) + z_power sqrt(q (1 - q))) / (p - q))^2,   p = level, q = coverage

    Args:
        coverage: the coverage that is to be seen, such as 0.88.
        level: the nominal one.
        power: the probability of seeing it.
        confidence: of the two-sided test.

    Raises:
        ValueError: unless all lie between 0 and 1 and the two coverages differ.
    """
    _inside("replicates_to_see", coverage, level, power, confidence)
    if coverage == level:
        raise ValueError(f"replicates_to_see: coverage and level must differ, got {coverage} for both")
    found, nominal = (math.sqrt(p * (1.0 - p)) for p in (coverage, level))
    z = float(norm.ppf(0.5 + 0.5 * confidence)) * nominal + float(norm.ppf(power)) * found
    return math.ceil((z / (coverage - level)) ** 2)


def _inside(name: str, *values: float) -> None:
    if not all(0.0 < value < 1.0 for value in values):
        raise ValueError(f"{name}: every number must lie between 0 and 1, got {values}")
