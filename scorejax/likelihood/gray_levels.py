"""Gray levels and model space: one mapping, used by data, training, likelihood and image writing alike.

Level `k` of `L` is the bin `[k, k + 1) / L` of the unit interval. Model space is that interval, `[0, 1)`, or
`[-1, 1)` if centered (`2 y - 1`). Three consequences:

* dequantized data is `(k + u) / L` with `u` uniform on (0, 1); without dequantization `u = 1/2`, the middle
  of the bin;
* the density of a level is an integral over `bin_width = scale / L`, so bits/dim of the uniform density are
  `log2 L`;
* `to_levels` returns the bin a point lies in, which is also the level whose middle is nearest. Images
  written by the convention of score_sde, level `k` at `k / (L - 1)`, lie in the same bins and read back
  exactly.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib

_SUBLEVELS = 2**15  # (2 j + 1) / 2^16 next to an 8-bit level fills the 24 bits of a float32 exactly


def check_gray_levels(gray_levels: int) -> None:
    """Refuse numbers of gray levels that 8-bit images cannot have.

    Raises:
        ValueError: unless `2 <= gray_levels <= 256`.
    """
    if not 2 <= gray_levels <= 256:
        raise ValueError(f"gray_levels = {gray_levels}; 8-bit images have 2 to 256 levels")


def check_examples(examples: Array | np.ndarray, gray_levels: int, name: str = "examples") -> Array:
    """Return examples that must be gray levels, integers from 0 to `gray_levels - 1`, `[B, ...]`.

    Raises:
        ValueError: on another type or no examples; where the numbers are known, on a level that there is not.
    """
    check_gray_levels(gray_levels)
    if not jnp.issubdtype(jnp.asarray(examples).dtype, jnp.integer):
        raise ValueError(
            f"{name} must be gray levels, integers in 0 .. {gray_levels - 1}, got {jnp.asarray(examples).dtype}; "
            "points of model space are measured by log_prob, and by elbo without levels"
        )
    if np.ndim(examples) == 0 or 0 in np.shape(examples):
        raise ValueError(f"{name} must be a batch [B, ...] of at least one example, got shape {np.shape(examples)}")
    if doors.known(examples) and getattr(examples, "is_fully_addressable", True):
        low, high = int(np.asarray(examples).min()), int(np.asarray(examples).max())
        if not 0 <= low <= high < gray_levels:
            raise ValueError(f"{name} must lie in 0 .. {gray_levels - 1} for {gray_levels} levels, got {low} .. {high}")
    return jnp.asarray(examples)


def bin_width(gray_levels: int, *, centered: bool = True) -> float:
    """Return the width of one gray level in model space: `scale / gray_levels`, scale 2 if centered, else 1."""
    return (2.0 if centered else 1.0) / gray_levels


def from_unit(unit: Array, *, centered: bool = True) -> Array:
    """Return the points of model space that belong to points of the unit interval: `2 y - 1` if centered."""
    return 2.0 * unit - 1.0 if centered else unit


def dequantize_uniform(key: Array, examples: Array, gray_levels: int) -> Array:
    """Return `(k + u) / gray_levels` in (0, 1), `u` uniform on (0, 1), for integers `k [B, ...]`, in float32.

    `u` takes the 2^15 values `(j + 1/2) / 2^15`, so that every sum `k + u` with `k < 256` is exact and no draw is
    rounded into the next level.

    Args:
        key: one key, or one per example `[B]`; an example's noise never depends on its batch-mates.
        examples: integers `0 .. gray_levels - 1`.
        gray_levels: how many levels there are, 2 to 256.

    Raises:
        ValueError: unless `2 <= gray_levels <= 256` and the examples are such integers.
    """
    examples = check_examples(examples, gray_levels)
    keys = keys_lib.per_example(key, examples.shape[0])
    bits = jax.vmap(lambda k: jax.random.bits(k, examples.shape[1:], jnp.uint16))(keys)
    u = ((bits >> 1).astype(jnp.float32) + 0.5) / _SUBLEVELS
    return (examples.astype(jnp.float32) + u) / gray_levels


def to_model(
    keys: Array | None,
    examples: Array,
    gray_levels: int | None,
    *,
    centered: bool = True,
    dequantize: bool = True,
) -> Array:
    """Return gray levels in model space: `(k + u) / gray_levels`, then `2 y - 1` if centered; vectors unchanged.

    Args:
        keys: typed keys `[B]`, one per example; unused, and may be None, without dequantization.
        examples: integer levels `[B, H, W, C]`, or vectors `[B, D]`.
        gray_levels: how many levels there are, at most 256; None for vectors.
        centered: model space is [-1, 1) instead of [0, 1).
        dequantize: draw `u` instead of taking the middle of the bin.

    Returns:
        float32, of the shape of `examples`.

    Raises:
        ValueError: unless `2 <= gray_levels <= 256`, or without the keys that dequantization needs.
    """
    if gray_levels is None:
        return examples
    check_gray_levels(gray_levels)
    if dequantize:
        if keys is None:
            raise ValueError("dequantize=True needs keys [B], one per example; got None.")
        unit = dequantize_uniform(keys, examples, gray_levels)
    else:
        unit = (examples.astype(jnp.float32) + 0.5) / gray_levels
    return from_unit(unit, centered=centered)


def to_levels(x: Array, gray_levels: int, *, centered: bool = True) -> Array:
    """Return the gray level whose bin each point lies in, as uint8: `floor(gray_levels y)` in `0..gray_levels-1`.

    Inverts `to_model` exactly, dequantized or not. NaN becomes level 0, and what lies outside model space the nearest
    level.
    """
    unit = (x + 1) / 2 if centered else x
    return jnp.clip(jnp.nan_to_num(jnp.floor(unit * gray_levels)), 0, gray_levels - 1).astype(jnp.uint8)
