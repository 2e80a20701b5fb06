"""Numbers of a fixed grid: the coefficients of Adams-Bashforth steps, and weights that integrate to the same order."""

from __future__ import annotations

import numpy as np

ADAMS_BASHFORTH = (
    np.array([1.0]),
    np.array([3.0, -1.0]) / 2.0,
    np.array([23.0, -16.0, 5.0]) / 12.0,
    np.array([55.0, -59.0, 37.0, -9.0]) / 24.0,
)
ORDERS = tuple(range(1, len(ADAMS_BASHFORTH) + 1))
_ENDS = (
    np.array([0.5]),
    np.array([0.5]),
    np.array([9.0, 28.0, 23.0]) / 24.0,
    np.array([9.0, 28.0, 23.0]) / 24.0,
)


def steps(nodes: int, order: int) -> np.ndarray:
    """Return the coefficients `[nodes, order]` of a step from each node, newest slope first.

    The first steps have the order of the slopes known so far; from the last node there is no step.
    """
    table = np.zeros((nodes, order))
    for i in range(nodes - 1):
        rule = ADAMS_BASHFORTH[min(i + 1, order) - 1]
        table[i, : len(rule)] = rule
    return table


def quadrature(nodes: int, order: int) -> np.ndarray:
    """Return weights `[nodes]` of the trapezoidal rule with Gregory's corrections at both ends, for a unit spacing."""
    weights, ends = np.ones(nodes), _ENDS[order - 1]
    weights[: len(ends)] = ends
    weights[nodes - len(ends) :] = ends[::-1]
    return weights
