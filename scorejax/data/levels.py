"""Grey levels and model space: one mapping, used by training, likelihood and image writing alike.

Level `k` of `L` is the bin `[k, k + 1) / L` of the unit interval. Model space is that interval, `[0, 1)`, or
`[-1, 1)` if centred (`2 y - 1`). Three consequences:

* dequantized data is `(k + u) / L` with `u` uniform on (0, 1); without dequantization `u = 1/2`, the middle
  of the bin;
* the density of a level is an integral over `bin_width = scale / L`, so bits/dim of the uniform density are
  `log2 L`;
* `to_levels` returns the bin a point lies in, which is also the level whose middle is nearest. Images
  written by the convention of score_sde, level `k` at `k / (L - 1)`, lie in the same bins and read back
  exactly.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorejax.likelihood.bits import check_levels, dequantize_uniform
from scorejax.numerics.keys import per_example


def bin_width(levels: int, *, centered: bool = True) -> float:
    """Width of one grey level in model space: `scale / levels`, scale 2 if centred, else 1."""
    return (2.0 if centered else 1.0) / levels


def example_keys(
    key: jax.Array, step: int | jax.Array, batch_size: int, *, part: int | jax.Array = 0, parts: int = 1
) -> jax.Array:
    """One key per slot of a batch: typed keys `[batch_size // parts]`, `fold_in(fold_in(key, step), slot)`.

    The slot counts through the whole batch, so an example's noise depends neither on its batch-mates nor on
    how many devices share the batch (`part`, `parts` as in `indices`).
    """
    count = batch_size // parts
    return per_example(jax.random.fold_in(key, step), count, part * count)


def to_model(
    keys: jax.Array | None,
    examples: jax.Array,
    levels: int | None,
    *,
    centered: bool = True,
    dequantize: bool = True,
) -> jax.Array:
    """Grey levels to model space: `(k + u) / levels`, then `2 y - 1` if centred. Vectors pass unchanged.

    Args:
      keys: typed keys `[B]`, one per example (`example_keys`); unused, and may be None, without
        dequantization.
      examples: integer levels `[B, H, W, C]`, or vectors `[B, D]`.
      levels: number of levels, at most 256; None for vectors.
      centered: model space is [-1, 1) instead of [0, 1).
      dequantize: draw `u` instead of taking the middle of the bin.

    Returns:
      float32, of the shape of `examples`.
    """
    if levels is None:
        return examples
    check_levels(levels)
    if dequantize:
        if keys is None:
            raise ValueError("dequantize=True needs keys [B], one per example; got None.")
        unit = dequantize_uniform(keys, examples, levels)
    else:
        unit = (examples.astype(jnp.float32) + 0.5) / levels
    return 2 * unit - 1 if centered else unit


def flip(keys: jax.Array, examples: jax.Array) -> jax.Array:
    """Mirror each image `[B, H, W, C]` left to right with probability 1/2, by its own key."""
    heads = jax.vmap(jax.random.bernoulli)(keys)
    return jnp.where(heads[:, None, None, None], examples[:, :, ::-1], examples)


def prepare(
    keys: jax.Array,
    examples: jax.Array,
    levels: int | None,
    *,
    centered: bool = True,
    dequantize: bool = True,
    mirror: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """A raw batch, mirrored if `mirror`, and the same in model space: `flip`, then `to_model`, by keys of their own."""
    halves = jax.vmap(jax.random.split)(keys)
    if mirror:
        examples = flip(halves[:, 0], examples)
    return examples, to_model(halves[:, 1], examples, levels, centered=centered, dequantize=dequantize)


def to_levels(x: jax.Array, levels: int, *, centered: bool = True) -> jax.Array:
    """Model space to the nearest grey level, as uint8: `floor(levels y)` clipped to `0..levels-1`.

    Inverts `to_model` exactly, dequantized or not. NaN becomes level 0.
    """
    unit = (x + 1) / 2 if centered else x
    return jnp.clip(jnp.nan_to_num(jnp.floor(unit * levels)), 0, levels - 1).astype(jnp.uint8)


def to_bytes(examples: np.ndarray | jax.Array, levels: int) -> np.ndarray:
    """Levels `0..levels-1` stretched to the 0..255 of an image file, rounded; 256 levels pass unchanged."""
    table = np.round(np.arange(levels) * (255 / (levels - 1))).astype(np.uint8)
    return table[np.asarray(examples)]


def from_bytes(images: np.ndarray, levels: int) -> np.ndarray:
    """The nearest of `levels` grey levels of each 0..255 of an image file; inverts `to_bytes`."""
    return np.round(images * ((levels - 1) / 255)).astype(np.uint8)
