"""The trace of a score's Jacobian: summed exactly, or estimated by Hutchinson's random vectors."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array

from scorejax.scores import jacobian as probes_lib

DIVERGENCES = ("exact", "rademacher", "gaussian")


def check_divergence(divergence: str, probes: int) -> str:
    """Return the name in `DIVERGENCES`; `hutchinson` is another word for `rademacher`.

    Raises:
        ValueError: on an unknown name or fewer than one probe.
    """
    divergence = "rademacher" if divergence == "hutchinson" else divergence
    if divergence not in DIVERGENCES:
        raise ValueError(f"unknown divergence {divergence!r}; choose one of {', '.join(DIVERGENCES)}")
    if probes < 1:
        raise ValueError(f"the divergence needs at least one probe, got {probes}")
    return divergence


def probe_vectors(keys: Array, x: Array, divergence: str, probes: int) -> Array:
    """Return vectors `[B, k, ...]`: every unit vector for the exact trace, else with identity covariance."""
    if divergence == "exact":
        units = jnp.eye(math.prod(x.shape[1:]), dtype=x.dtype).reshape(-1, *x.shape[1:])
        return jnp.broadcast_to(units, (x.shape[0], *units.shape))
    return probes_lib.draw(keys, x, divergence, probes)
