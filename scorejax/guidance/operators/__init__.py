"""Linear measurement operators `A`: forward, adjoint and pseudo-inverse, tested by `check`.

All act on batches, every example by itself.
"""

from scorejax.guidance.operators.base import Operator, compose, linear
from scorejax.guidance.operators.filters import average_pool, circular_blur, gaussian_blur, separable
from scorejax.guidance.operators.selections import dense, grey, mask, random_projection

__all__ = [
    "Operator",
    "average_pool",
    "circular_blur",
    "compose",
    "dense",
    "gaussian_blur",
    "grey",
    "linear",
    "mask",
    "random_projection",
    "separable",
]
