"""Measurements of images by name: `(shape, key, *, settings) -> Operator`, for images of shape `(H, W, C)`."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
from jax import Array

from scorejax.guidance.operators import filters, selections
from scorejax.guidance.operators.base import Operator
from scorejax.numerics.ranges import Count, Inside01, Positive

_RANDOM = 2  # a stream of the key, which others may use for masks and tests of the operator


def superresolution(shape: tuple[int, ...], key: Array, *, factor: Count = 2) -> Operator:
    """Return means over squares of `factor` x `factor` pixels.

    Raises:
        ValueError: if the images do not divide into such squares.
    """
    if shape[0] % max(factor, 1) or shape[1] % max(factor, 1):
        raise ValueError(
            f"superresolution: images of {shape[0]}x{shape[1]} do not divide into squares of {factor}x{factor}; choose "
            "a factor that divides both"
        )
    return filters.average_pool(factor)


def blur(shape: tuple[int, ...], key: Array, *, std: Positive = 1.5) -> Operator:
    """Return a Gaussian blur of standard deviation `std` pixels, the image mirrored at its edges.

    Raises:
        ValueError: unless `std` is positive.
    """
    return filters.gaussian_blur((shape[0], shape[1]), std)


def gray(shape: tuple[int, ...], key: Array) -> Operator:
    """Return the mean of the channels of color images.

    Raises:
        ValueError: if the images have one channel.
    """
    if shape[-1] < 2:
        raise ValueError(f"gray: color images are needed, got images of shape {shape}")
    return selections.gray(shape[-1])


def random(shape: tuple[int, ...], key: Array, *, share: Inside01 = 0.5) -> Operator:
    """Return random projections, as many as this share of the pixels and channels (compressed sensing).

    Raises:
        ValueError: unless the share lies between 0 and 1.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"random: the share must lie between 0 and 1, got {share}")
    count = max(round(share * math.prod(shape)), 1)
    return selections.random_projection(jax.random.fold_in(key, _RANDOM), count, shape)


OPERATORS: dict[str, Callable[..., Operator]] = {
    "superresolution": superresolution,
    "blur": blur,
    "gray": gray,
    "random": random,
}
"""The measurements of images by name; the parameters of each with their defaults are its settings. `operators.mask` is
not among them: what is known is an array, which the program makes or reads."""
