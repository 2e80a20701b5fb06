"""Linear measurement operators `A`: forward, adjoint and pseudo-inverse, tested by `check`.

All act on batches, every example by itself.
"""

from scorejax.guidance.operators.base import Operator, compose, linear
from scorejax.guidance.operators.filters import average_pool, circular_blur, gaussian_blur, separable
from scorejax.guidance.operators.named import OPERATORS
from scorejax.guidance.operators.selections import dense, gray, mask, random_projection

__all__ = [
    "OPERATORS",
    "Operator",
    "average_pool",
    "circular_blur",
    "compose",
    "dense",
    "gaussian_blur",
    "gray",
    "linear",
    "mask",
    "random_projection",
    "separable",
]
