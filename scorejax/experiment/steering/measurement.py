"""Measurements and masks by name: linear operators on images, as parts with settings of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, TypeAlias

import jax
import numpy as np

from scorejax.data.picture import read as read_picture
from scorejax.experiment.config import Seam
from scorejax.guidance import operators
from scorejax.guidance.operators import Operator
from scorejax.numerics.ranges import Inside01
from scorejax.runtime.errors import ConfigError, user_errors

_CHECK, _MASK = range(2)  # streams of the key; the operators have their own
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


def random_pixels(shape: Shape, key: jax.Array, *, share: Inside01 = 0.5) -> np.ndarray:
    """Pixels at random, the same in all images."""
    _check_share(share)
    anew = np.zeros(shape[:2], bool)
    order = np.asarray(jax.random.permutation(jax.random.fold_in(key, _MASK), anew.size))
    anew.reshape(-1)[order[: round(share * anew.size)]] = True
    return anew


def file(shape: Shape, key: jax.Array, *, path: str) -> np.ndarray:
    """A PNG of the images' size, white where they are drawn anew."""
    where = Path(path).expanduser()
    if not where.is_file():
        raise ConfigError(f"mask {path!r} is neither a PNG file nor one of {', '.join(MASKS)}")
    with user_errors(f"mask {path!r}"):
        pixels = np.asarray(read_picture(where, remedy="save it without transparency").convert("L"))
    if pixels.shape != shape[:2]:
        raise ConfigError(
            f"mask {path!r} is {pixels.shape[1]}x{pixels.shape[0]}, the images are {shape[1]}x{shape[0]}; a mask is "
            "not resized: give one of their size"
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


def masked(shape: Shape, key: jax.Array, *, mask: Annotated[str, MASK] = "half") -> Operator:
    """What a mask leaves of an image."""
    known = known_part(mask, shape, key)  # type: ignore[arg-type]
    if known is None:
        raise ConfigError(f"operator 'mask' needs a mask; choose one of {', '.join(MASKS)}")
    return operators.mask(known)


OPERATORS: Mapping[str, Callable[..., Operator]] = {
    "mask": masked,
    **operators.OPERATORS,
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
