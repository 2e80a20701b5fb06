"""What transformers of images share: patches, positions, and attention with several heads.

Images `[B, H, W, C]`, series `[B, L, C]` and volumes `[B, D, H, W, C]` are cut into patches of `p` pixels along every
side; each patch is a token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorejax.models.layers import Dtype


def patchify(x: jax.Array, patch: int) -> jax.Array:
    """Cut `[B, *sides, C]` into tokens `[B, N, patch^d C]`, the last side running fastest."""
    batch, *sides, channels = x.shape
    grid = [side // patch for side in sides]
    x = x.reshape(batch, *(part for count in grid for part in (count, patch)), channels)
    places, within = range(1, 2 * len(sides), 2), range(2, 2 * len(sides) + 1, 2)
    return x.transpose(0, *places, *within, x.ndim - 1).reshape(batch, math.prod(grid), -1)


def unpatchify(tokens: jax.Array, sides: Sequence[int], patch: int) -> jax.Array:
    """Put tokens `[B, N, patch^d C]` together to `[B, *sides, C]`: the inverse of `patchify`."""
    dim, grid = len(sides), [side // patch for side in sides]
    x = tokens.reshape(len(tokens), *grid, *[patch] * dim, -1)
    order = [axis for i in range(dim) for axis in (1 + i, 1 + dim + i)]
    return x.transpose(0, *order, x.ndim - 1).reshape(len(tokens), *sides, -1)


def positions(grid: Sequence[int], width: int) -> np.ndarray:
    """Return fixed waves of the places on a grid, `[N, width]` (Peebles & Xie 2022).

    `width` is cut into a part for every side, the last side first: sines and then cosines of the place at the
    frequencies `10000^(-2 j / part)`. What is left over is zero.
    """
    dim = len(grid)
    half = width // (2 * dim)
    rates = 10_000.0 ** (-np.arange(half) / max(half, 1))
    places = np.stack(np.meshgrid(*[np.arange(side) for side in grid], indexing="ij"), axis=-1).reshape(-1, dim)
    table = np.zeros((len(places), width), np.float32)
    for part, axis in enumerate(reversed(range(dim))):
        angles = places[:, axis : axis + 1] * rates
        start = 2 * half * part
        table[:, start : start + 2 * half] = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    return table


def check_patches(name: str, x: jax.Array, patch: int, width: int, heads: int) -> None:
    """Check that a transformer fits examples `[B, *sides, C]` of one to three sides.

    Raises:
        ValueError: another number of axes, a side that patches do not divide, or a width that heads do not divide.
    """
    if x.ndim not in (3, 4, 5):
        raise ValueError(
            f"{name} takes images [batch, height, width, channels], series [batch, length, channels] or volumes "
            f"[batch, depth, height, width, channels], got an array of shape {x.shape}"
        )
    if width < 1 or heads < 1 or width % heads:
        raise ValueError(f"features must be a multiple of heads, got {width} and {heads}")
    for axis, side in enumerate(x.shape[1:-1]):
        if side % patch:
            near = [n for n in (side // patch * patch, -(-side // patch) * patch) if n]
            raise ValueError(
                f"axis {axis} has {side} pixels, which patches of {patch} do not divide: take a side of "
                f"{' or '.join(map(str, near))}, or another patch, such as "
                f"{max(p for p in range(1, patch) if side % p == 0)}"
            )


def dense(features: int, name: str, dtype: Dtype, *, use_bias: bool = True) -> nn.Dense:
    """A dense map with the initial weights of transformers, uniform of variance `2 / (fan_in + fan_out)`."""
    init = nn.initializers.xavier_uniform()
    return nn.Dense(features, use_bias=use_bias, kernel_init=init, dtype=dtype, name=name)


class SelfAttention(nn.Module):
    """Attention of tokens to each other, with several heads.

    Attributes:
        heads: number of heads.
        qkv_bias: whether queries, keys and values have a bias.
        dtype: type to compute in.
    """

    heads: int
    qkv_bias: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Map `[B, N, F]` to the same shape."""
        width = tokens.shape[-1]
        qkv = dense(3 * width, "qkv", self.dtype, use_bias=self.qkv_bias)(tokens)
        q, k, v = jnp.moveaxis(qkv.reshape(*tokens.shape[:2], 3, self.heads, width // self.heads), 2, 0)
        found = jax.nn.dot_product_attention(q, k, v)
        return dense(width, "out", self.dtype)(found.reshape(tokens.shape))


class Perceptron(nn.Module):
    """Two dense maps with a GELU between them, which widen and narrow.

    Attributes:
        ratio: width in the middle over that of the tokens.
        dtype: type to compute in.
        approximate: GELU by tanh.
    """

    ratio: int = 4
    dtype: Dtype = jnp.float32
    approximate: bool = True

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Map `[B, N, F]` to the same shape."""
        width = tokens.shape[-1]
        h = nn.gelu(dense(self.ratio * width, "dense_0", self.dtype)(tokens), approximate=self.approximate)
        return dense(width, "dense_1", self.dtype)(h)
