"""The laws of synthetic data, where they are known: what a perfect model would say of an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from jax import Array

from scorejax.data.vectors import GAUSSIAN_COVARIANCE, GAUSSIAN_MEAN
from scorejax.scores import analytic


class Law(Protocol):
    """A law with a density."""

    def log_prob(self, x: Array) -> Array:
        """Return the log density `[B]` of examples in their own units, in nats."""
        ...


def _gaussian(**settings: Any) -> Law:
    return analytic.gaussian(GAUSSIAN_MEAN, GAUSSIAN_COVARIANCE)


def _random_field(
    *, side: int = 64, dimensions: int = 1, power: float = 2.0, scale: float = 2.0, **settings: Any
) -> Law:
    return analytic.random_field(side, dimensions, power=power, scale=scale)


LAWS: Mapping[str, Callable[..., Law]] = {"gaussian": _gaussian, "random_field": _random_field}
"""By the name of the source, made from its settings."""
