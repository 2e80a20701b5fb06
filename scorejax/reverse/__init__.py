"""Reverse chains `p(x_s | x_t)`: their means, their variances, the statistic behind the best ones, their time grids."""

from scorejax.reverse.chain import (
    VARIANCES,
    ReverseChain,
    Transition,
    chain,
    expected_kl,
    optimal_variance,
    transition,
)

__all__ = [
    "VARIANCES",
    "ReverseChain",
    "Transition",
    "chain",
    "expected_kl",
    "optimal_variance",
    "transition",
]
