"""Time grids by name: those of `scorejax.times`, of degradations, and the one that depends on a trained network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
from annotated_types import Interval
from jax import Array

from scorejax.degradations.levels import levels
from scorejax.reverse import optimal_times
from scorejax.reverse.gamma import Gamma
from scorejax.sdes import times
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE


def optimal(
    sde: LinearSDE,
    n: int,
    *,
    t_min: float | None = None,
    eta: Annotated[float, Interval(gt=0, le=1)] = 1.0,
    fitted: Callable[[str], Gamma] | None = None,
) -> np.ndarray:
    """Return the `n + 1` times with the least variational bound, in float64 (Analytic-DPM, arXiv 2201.06503).

    The times are among those of the statistic `fitted("analytic")` of the network; `trajectories.optimal` takes the
    statistic itself.

    Args:
        sde: the forward process.
        n: number of sampler steps.
        t_min: the last time; that of the statistic if not given.
        eta: the forward family whose bound is meant: 1 is DDPM, smaller values lie between it and DDIM.
        fitted: returns the `Gamma` that was fitted to the network.

    Raises:
        ValueError: without the statistic, or as `trajectories.optimal`.
    """
    check_kind(sde, LinearSDE, "the time grid optimal")
    if fitted is None:
        raise ValueError(
            "the time grid 'optimal' needs a statistic of the network; give fitted=lambda name: gamma with a "
            "scorejax.gamma.Gamma, or choose even"
        )
    known = fitted("analytic")
    return optimal_times.optimal(sde, known if t_min is None else known.since(t_min), n + 1, eta=eta)


GRIDS: dict[str, Callable[..., Array | np.ndarray]] = {**times.GRIDS, "optimal": optimal, "levels": levels}
"""All time grids by name: `(sde, n, *, t_min=None, ...) -> n + 1 times`."""
