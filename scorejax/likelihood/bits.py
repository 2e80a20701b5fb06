"""From log densities of dequantized data to bits per dimension."""

from __future__ import annotations

import math

from jax import Array

from scorejax import keys as keys_lib


def bits_per_dim(log_prob: Array, dims: int, bin_width: float) -> Array:
    """Return `-(log_prob + D log(bin_width)) / (D log 2)`, shaped like `log_prob`.

    The density of uniformly dequantized data bounds the probability of its bin (Theis et al., arXiv 1511.01844);
    `bin_width` is the width of one grey level in model units: 2 / 256 for 8-bit images in [-1, 1], 1 / 256 in [0, 1].

    Args:
        log_prob: log densities in nats, in model units.
        dims: `D`, the number of values of an example.
        bin_width: the width of one level in model units; 1 gives the differential entropy rate in bits.

    Raises:
        ValueError: unless `dims >= 1` and `bin_width > 0`.
    """
    if dims < 1 or not bin_width > 0:
        raise ValueError(f"bits_per_dim needs dims >= 1 and bin_width > 0, got dims={dims}, bin_width={bin_width}")
    return -(log_prob / dims + math.log(bin_width)) / math.log(2.0)


def dequantize_uniform(key: Array, levels_array: Array, levels: int) -> Array:
    """Return `(k + u) / levels` in [0, 1), `u` uniform on [0, 1), for integer levels `k [B, ...]`.

    Args:
        key: one key, or one per example `[B]`; an example's noise never depends on its batch-mates.
        levels_array: integers `0 .. levels - 1`.
        levels: how many levels there are (256 for 8-bit images).
    """
    keys = keys_lib.per_example(key, levels_array.shape[0])
    noise = keys_lib.uniform(keys, levels_array.shape)
    return (levels_array.astype(noise.dtype) + noise) / levels
