"""Nonlinearities by name, for networks that are differentiated twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import flax.linen as nn
from jax import Array

from scorejax.models.layers import NONLINEARITIES

Activation: TypeAlias = Literal["silu", "softplus", "tanh", "gelu", "elu", "leaky_relu", "relu"]
"""The last two are piecewise linear: an energy made of them has no curvature, which score matching looks at."""
ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    **NONLINEARITIES,
    "softplus": nn.softplus,
    "tanh": nn.tanh,
    "gelu": nn.gelu,
}


def activation(name: Activation) -> Callable[[Array], Array]:
    """Return the nonlinearity of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]
