"""The laws of synthetic data, where they are known: what a perfect model would say of an example."""

from __future__ import annotations

import inspect
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


def _random_field(**settings: Any) -> Law:
    taken = inspect.signature(analytic.random_field).parameters  # the source has some that are of the draws alone
    return analytic.random_field(**{key: value for key, value in settings.items() if key in taken})


LAWS: Mapping[str, Callable[..., Law]] = {"gaussian": _gaussian, "random_field": _random_field}
"""By the name of the source, made from its settings."""
