"""A raw batch on its way into model space, and gray levels on their way into the bytes of an image file.

The mapping itself is `scorejax.data.space`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorejax.data.space import Space
from scorejax.numerics.keys import per_example


def example_keys(
    key: jax.Array, step: int | jax.Array, batch_size: int, *, part: int | jax.Array = 0, parts: int = 1
) -> jax.Array:
    """Return one key per slot of a batch: typed keys `[batch_size // parts]`, `fold_in(fold_in(key, step), slot)`.

    The slot counts through the whole batch, so an example's noise depends neither on its batch-mates nor on
    how many devices share the batch (`part`, `parts` as in `indices`).
    """
    count = batch_size // parts
    return per_example(jax.random.fold_in(key, step), count, part * count)


def flip(keys: jax.Array, examples: jax.Array) -> jax.Array:
    """Mirror each image `[B, H, W, C]` left to right with probability 1/2, by its own key."""
    heads = jax.vmap(jax.random.bernoulli)(keys)
    return jnp.where(heads[:, None, None, None], examples[:, :, ::-1], examples)


def prepare(keys: jax.Array, examples: jax.Array, space: Space, *, mirror: bool = False) -> tuple[jax.Array, jax.Array]:
    """Return a raw batch, mirrored if `mirror`, and in model space: `flip`, then `space`, by keys of their own."""
    halves = jax.vmap(jax.random.split)(keys)
    if mirror:
        examples = flip(halves[:, 0], examples)
    return examples, space.to_model(halves[:, 1], examples)


def to_bytes(examples: np.ndarray | jax.Array, gray_levels: int) -> np.ndarray:
    """Stretch levels `0..gray_levels-1` to the 0..255 of an image file, rounded; 256 levels pass unchanged."""
    table = np.round(np.arange(gray_levels) * (255 / (gray_levels - 1))).astype(np.uint8)
    return table[np.asarray(examples)]


def from_bytes(images: np.ndarray, gray_levels: int) -> np.ndarray:
    """Return the nearest of `gray_levels` gray levels of each 0..255 of an image file; inverts `to_bytes`."""
    return np.round(images * ((gray_levels - 1) / 255)).astype(np.uint8)
