"""Measurements and masks by name: linear operators on images, as parts with settings of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, TypeAlias

import jax
import numpy as np

from scorejax.experiment.config import Seam
from scorejax.guidance import operators
from scorejax.guidance.operators import Operator
from scorejax.runtime.errors import ConfigError, user_errors

_CHECK, _MASK, _RANDOM = range(3)  # streams of the key
Shape: TypeAlias = tuple[int, ...]
MakeMask: TypeAlias = Callable[[Shape, jax.Array], np.ndarray | None]
MakeOperator: TypeAlias = Callable[[Shape, jax.Array], Operator]

# ---- Masks: where an image is to be drawn anew, as bool [H, W] -----------------------------------------------------


def no_mask(shape: Shape, key: jax.Array) -> None:
    """The whole image."""
    return


def half(shape: Shape, key: jax.Array) -> np.ndarray:
    """The right half."""
    anew = np.zeros(shape[:2], bool)
    anew[:, shape[1] // 2 :] = True
    return anew


def center(shape: Shape, key: jax.Array) -> np.ndarray:
    """A square in the middle, of half the width."""
    high, wide = shape[:2]
    anew = np.zeros((high, wide), bool)
    anew[high // 4 : high // 4 + high // 2, wide // 4 : wide // 4 + wide // 2] = True
    return anew


def random_pixels(shape: Shape, key: jax.Array, *, share: float = 0.5) -> np.ndarray:
    """Pixels at random, the same in all images."""
    _check_share(share)
    anew = np.zeros(shape[:2], bool)
    order = np.asarray(jax.random.permutation(jax.random.fold_in(key, _MASK), anew.size))
    anew.reshape(-1)[order[: round(share * anew.size)]] = True
    return anew


def file(shape: Shape, key: jax.Array, *, path: str) -> np.ndarray:
    """A PNG of the images' size, white where they are drawn anew."""
    from PIL import Image

    if not Path(path).is_file():
        raise ConfigError(f"mask {path!r} is neither a PNG file nor one of {', '.join(MASKS)}")
    with user_errors(f"mask {path!r}"), Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    if pixels.shape != shape[:2]:
        raise ConfigError(
            f"mask {path!r} is {pixels.shape[1]}x{pixels.shape[0]}, the images are {shape[1]}x{shape[0]}; a mask is not "
            "resized: give one of their size"
        )
    return pixels > 127


MASKS: Mapping[str, Callable[..., np.ndarray | None]] = {
    "none": no_mask,
    "half": half,
    "center": center,
    "random": random_pixels,
    "file": file,
}
MASK = Seam(MASKS, "mask", "half", fallback="file")
MASK_OR_NONE = Seam(MASKS, "mask", "none", fallback="file")


def known_part(make: MakeMask, shape: Shape, key: jax.Array) -> np.ndarray | None:
    """The mask `[H, W, 1]` of what is known of images of this shape; None where no mask was asked for.

    Raises:
        ConfigError: no such file, a mask of another size, or one that leaves nothing to do.
    """
    anew = make(shape, key)
    if anew is None:
        return None
    if anew.all() or not anew.any():
        raise ConfigError(
            f"the mask is {'white' if anew.all() else 'black'} everywhere; white is what is drawn anew: give one with "
            "both"
        )
    return ~anew[..., None]


# ---- Operators ------------------------------------------------------------------------------------------------------


def superresolution(shape: Shape, key: jax.Array, *, factor: int = 2) -> Operator:
    """Means over squares of `factor` x `factor` pixels."""
    return operators.average_pool(factor)


def blur(shape: Shape, key: jax.Array, *, pixels: float = 1.5) -> Operator:
    """A Gaussian blur; `pixels` is its standard deviation."""
    return operators.gaussian_blur((shape[0], shape[1]), pixels)


def gray(shape: Shape, key: jax.Array) -> Operator:
    """The gray values of color images."""
    if shape[-1] != 3:
        raise ConfigError(f"operator 'gray' takes color images, got images of shape {shape}")
    return operators.grey(shape[-1])


def masked(shape: Shape, key: jax.Array, *, mask: Annotated[str, MASK] = "half") -> Operator:
    """What a mask leaves of an image."""
    known = known_part(mask, shape, key)  # type: ignore[arg-type]
    if known is None:
        raise ConfigError(f"operator 'mask' needs a mask; choose one of {', '.join(MASKS)}")
    return operators.mask(known)


def random_projection(shape: Shape, key: jax.Array, *, share: float = 0.5) -> Operator:
    """Random projections, as many as this share of the pixels."""
    _check_share(share)
    count = round(share * int(np.prod(shape)))
    return operators.random_projection(jax.random.fold_in(key, _RANDOM), max(count, 1), shape)


OPERATORS: Mapping[str, Callable[..., Operator]] = {
    "mask": masked,
    "superresolution": superresolution,
    "blur": blur,
    "gray": gray,
    "random": random_projection,
}
OPERATOR = Seam(OPERATORS, "operator", "superresolution")


def operator(make: MakeOperator, shape: Shape, key: jax.Array) -> Operator:
    """The operator on images of this shape, tried on random ones.

    Raises:
        ConfigError: settings that it does not take, or an operator that breaks a law of operators.
    """
    with user_errors("guidance.operator"):
        found = make(shape, key)
        found.check(jax.random.fold_in(key, _CHECK), (2, *shape))
    return found


def _check_share(share: float) -> None:
    if not 0.0 < share < 1.0:
        raise ConfigError(f"share = {share}; it must lie between 0 and 1")
