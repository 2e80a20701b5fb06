"""Measurements by name: operators on images, and masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from scorejax.experiment.config.settings import choices
from scorejax.guidance import operators
from scorejax.guidance.operators import Operator
from scorejax.runtime.errors import ConfigError, user_errors

_CHECK, _MASK, _RANDOM = range(3)  # streams of the key


def operator(text: str, mask: str | None, shape: tuple[int, ...], key: jax.Array) -> Operator:
    """The operator `NAME` or `NAME:NUMBER` on images `(H, W, C)`, tried on random images.

    Args:
        text: `mask`, `superresolution:FACTOR`, `blur:PIXELS` (standard deviation), `grey`, or `random:SHARE` (random
            projections, as many as this share of the pixels).
        mask: for `mask`, as of `known_part`.
        shape: of an image.
        key: of what is random about it.

    Raises:
        ConfigError: no such operator, a number that it does not take, or an operator that breaks a law of operators.
    """
    name, _, number = text.partition(":")
    with user_errors(f"guidance.operator = {text!r}"):
        if name not in OPERATORS:
            raise ConfigError(f"unknown guidance.operator {name!r}; choose one of {choices(OPERATORS)}")
        if (mask is not None) != (name == "mask"):
            raise ConfigError("guidance.mask and guidance.operator = 'mask' belong together: give both, or neither")
        found = OPERATORS[name](mask or number, shape, key)
        found.check(jax.random.fold_in(key, _CHECK), (2, *shape))
    return found


def known_part(text: str, shape: tuple[int, ...], key: jax.Array) -> np.ndarray:
    """A mask `[H, W, 1]`, true where the image is known: black in the PNG, which is white where it is drawn anew.

    Args:
        text: a PNG of the images' size, or `half` (the right half is drawn anew), `centre` (a square of half the
            width), `random:SHARE` (this share of the pixels, the same in all images).
        shape: `(H, W, C)` of the images.
        key: of the random one.

    Raises:
        ConfigError: no such file or pattern, a mask of another size, or one that leaves nothing to do.
    """
    high, wide = shape[:2]
    name, _, number = text.partition(":")
    anew = np.zeros((high, wide), bool)
    if name == "half":
        anew[:, wide // 2 :] = True
    elif name == "centre":
        anew[high // 4 : high // 4 + high // 2, wide // 4 : wide // 4 + wide // 2] = True
    elif name == "random":
        share = _share("guidance.mask", text, number)
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, _MASK), high * wide))
        anew.reshape(-1)[order[: round(share * high * wide)]] = True
    else:
        anew = _from_file(text, (high, wide))
    if anew.all() or not anew.any():
        raise ConfigError(
            f"guidance.mask = {text!r} is {'white' if anew.all() else 'black'} everywhere; white is what is drawn anew"
        )
    return ~anew[..., None]


def _from_file(path: str, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    if not Path(path).is_file():
        raise ConfigError(f"guidance.mask = {path!r} is neither a PNG file nor one of half, centre, random:SHARE")
    with user_errors(f"guidance.mask = {path!r}"), Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    if pixels.shape != size:
        raise ConfigError(
            f"guidance.mask = {path!r} is {pixels.shape[1]}x{pixels.shape[0]}, the images are {size[1]}x{size[0]}; "
            "a mask is not resized: give one of their size"
        )
    return pixels > 127


def _superresolution(number: str, shape: tuple[int, ...], key: jax.Array) -> Operator:
    return operators.average_pool(int(number or 2))


def _blur(number: str, shape: tuple[int, ...], key: jax.Array) -> Operator:
    return operators.gaussian_blur((shape[0], shape[1]), float(number or 1.5))


def _grey(number: str, shape: tuple[int, ...], key: jax.Array) -> Operator:
    if number or shape[-1] != 3:
        raise ConfigError(f"guidance.operator = 'grey' takes no number, and colour images; got {number!r}, {shape}")
    return operators.grey(shape[-1])


def _mask(text: str, shape: tuple[int, ...], key: jax.Array) -> Operator:
    return operators.mask(known_part(text, shape, key))


def _random(number: str, shape: tuple[int, ...], key: jax.Array) -> Operator:
    count = round(_share("guidance.operator", f"random:{number}", number) * int(np.prod(shape)))
    return operators.random_projection(jax.random.fold_in(key, _RANDOM), max(count, 1), shape)


def _share(key: str, text: str, number: str) -> float:
    share = float(number or 0.5)
    if not 0.0 < share < 1.0:
        raise ConfigError(f"{key} = {text!r}: the share must lie between 0 and 1")
    return share


OPERATORS: dict[str, Callable[[str, tuple[int, ...], jax.Array], Operator]] = {
    "mask": _mask,
    "superresolution": _superresolution,
    "blur": _blur,
    "grey": _grey,
    "random": _random,
}
